#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that nothing of the web console can make markup, script or a request elsewhere out of text.

Text becomes text nodes (management/web/dom.js); the content security policy is the second line of
defence, not the first.
"""

import pathlib
import re
import sys

WEB = pathlib.Path(__file__).parents[1] / "management" / "web"
BANNED = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|"
                    r"createContextualFragment|srcdoc|DOMParser|setHTML|style=|"
                    r"https?://(?!www\.w3\.org/2000/svg)")


def main():
    found = [f"{path.relative_to(WEB.parents[1])}:{number}: {line.strip()}"
             for path in sorted(WEB.iterdir())
             for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
             if BANNED.search(line)]
    print("\n".join(found + [f"web console: {len(list(WEB.iterdir()))} files, {len(found)} violations"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
