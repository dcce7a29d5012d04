# SPDX-License-Identifier: Apache-2.0
"""`make package-tests` builds what these tests try: build/deb and build/image."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
