"""Checks that all files name one version, and that a tag is it; prints CHANGELOG.md's text of that version.

python .github/release.py [v1.2.3]. Without a tag the newest heading may say "(unreleased)".
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# pyproject.toml's is the source; the others are compared with it. Read by patterns: Python 3.10 has no reader of TOML.
PATTERNS = {
    "pyproject.toml": r'^version = "(.+)"$',
    "CMakeLists.txt": r"^project\(evsam VERSION (\S+) ",
    "examples/ros2/evsam_ros/setup.py": r'^ +version="(.+)",$',
}


def versions(root: Path) -> dict[str, str]:
    """The version that each file names, by the file's path."""
    found = {}
    for name, pattern in PATTERNS.items():
        match = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        if not match:
            raise SystemExit(f"{name}: expected a line like {pattern}")
        found[name] = match[1]
    found["page/package.json"] = json.loads((root / "page/package.json").read_text(encoding="utf-8"))["version"]
    return found


def newest_changes(root: Path) -> tuple[str, bool, str]:
    """CHANGELOG.md's newest version, whether its heading says that it is released, and what stands below."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    match = re.search(r"^## (\S+)( \(unreleased\))?[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not match:
        raise SystemExit("CHANGELOG.md: expected a heading '## VERSION'")
    return match[1], not match[2], match[3].strip()


def main(root: Path, tag: str | None) -> str:
    """Text of the release.

    Raises:
        SystemExit: Two files, or the tag, name different versions; or a tag's version is called unreleased.
    """
    found = versions(root)
    version = found["pyproject.toml"]
    changes, released, text = newest_changes(root)
    found["CHANGELOG.md"] = changes
    wrong = [f"{name}: expected version {version}, as in pyproject.toml, got {got}" for name, got in found.items()]
    wrong = [line for line, got in zip(wrong, found.values(), strict=True) if got != version]
    if tag is not None and tag != f"v{version}":
        wrong.append(f"tag: expected v{version}, got {tag}")
    if tag is not None and not released:
        wrong.append(f"CHANGELOG.md: expected no '(unreleased)' after {version}, because it is tagged")
    if wrong:
        raise SystemExit("\n".join(wrong))
    return text


if __name__ == "__main__":
    sys.stdout.write(main(ROOT, sys.argv[1] if len(sys.argv) > 1 else None) + "\n")
