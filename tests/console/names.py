# SPDX-License-Identifier: Apache-2.0
"""Sixty names that would run something where a name becomes markup, script, style or a link."""

NAMES = [
    "<script>xss()</script>", "<img src=x onerror=xss()>", "<svg onload=xss()>",
    "<svg><script>xss()</script></svg>", "<body onload=xss()>", "<iframe src=javascript:xss()>",
    "<iframe srcdoc='<script>parent.xss()</script>'>", "<details open ontoggle=xss()>",
    "<video><source onerror=xss()>", "<audio src=x onerror=xss()>", "<input autofocus onfocus=xss()>",
    "<select autofocus onfocus=xss()>", "<textarea autofocus onfocus=xss()>",
    "<marquee onstart=xss()>", "<object data=javascript:xss()>", "<embed src=javascript:xss()>",
    "<a href=javascript:xss()>x</a>", "<form action=javascript:xss()><button>x</button></form>",
    "<math href=javascript:xss()>x</math>", "<base href=//example.invalid/>",
    "<link rel=stylesheet href=//example.invalid/x.css>", "<meta http-equiv=refresh content=0;url=//example.invalid>",
    "<style>*{display:none}</style>", "<style>@import '//example.invalid/x'</style>",
    "\"><script>xss()</script>", "'><script>xss()</script>", "\" onmouseover=\"xss()", "' onmouseover='xss()",
    "\" autofocus onfocus=\"xss()", "--><script>xss()</script>", "]]><script>xss()</script>",
    "</title><script>xss()</script>", "</textarea><script>xss()</script>", "</style><script>xss()</script>",
    "</script><script>xss()</script>", "</option></select><img src=x onerror=xss()>",
    "javascript:xss()", "JaVaScRiPt:xss()", "java\tscript:xss()", "data:text/html,<script>xss()</script>",
    "vbscript:xss()", "${xss()}", "`${xss()}`", "{{constructor.constructor('xss()')()}}", "#{xss()}",
    "<%= xss() %>", "';xss();//", "\";xss();//", "\\\";xss();//", "\\u003cscript\\u003exss()\\u003c/script\\u003e",
    "&lt;script&gt;xss()&lt;/script&gt;", "&#60;script&#62;xss()&#60;/script&#62;", "%3Cscript%3Exss()%3C/script%3E",
    "<scr<script>ipt>xss()</scr</script>ipt>", "<<script>xss();//<</script>", "<script/x>xss()</script>",
    "<img/src='x'/onerror=xss()>", "\u202e<script>xss()</script>", "__proto__", "constructor",
]
