"""The files of a Hugging Face Space, taken from this repository, and on request pushed there.

    python tools/make_space.py SPACE_DIR                          # a folder that `python app.py` runs in
    python tools/make_space.py SPACE_DIR --push user/space        # and publishes it (HF_TOKEN, or `hf auth login`)

Tests, benchmarks and pictures of other pages stay at home. With --torch-index, the Space's requirements.txt takes torch
from an index of CPU wheels; this repository's own never does, since where that index cannot be reached, every package
waits for it.
"""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHOLE = ("app.py", "requirements.txt", "packages.txt", "LICENSE", "README.md", "melformer", "checkpoints", "examples")
NEEDED = ("title", "sdk", "sdk_version", "app_file", "license")
"""What the Hub must be told in the head of README.md."""


def space_files(root: Path) -> dict[str, Path]:
    """Name in the Space → file here: what runs, and the pictures and pages that README.md points to.

    Errors: SystemExit, naming what is missing.
    """
    files = {}
    for name in WHOLE:
        if not (root / name).exists():
            raise SystemExit(f"{root / name} is missing; a Space needs it.")
        paths = [root / name] if (root / name).is_file() else sorted((root / name).rglob("*"))
        files |= {path.relative_to(root).as_posix(): path for path in paths if _is_kept(path)}
    for target in re.findall(r"\]\(([\w./-]+)", (root / "README.md").read_text(encoding="utf-8")):
        if (root / target).is_file():
            files[target] = root / target
    return files


def _is_kept(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")


def check_head(readme: str) -> None:
    """Errors: SystemExit where the Hub would refuse or misunderstand the head of README.md."""
    head = readme.split("---\n")[1] if readme.startswith("---\n") else ""
    missing = [name for name in NEEDED if not re.search(rf"^{name}: \S", head, re.MULTILINE)]
    if missing:
        raise SystemExit(f"The head of README.md does not say {', '.join(missing)}; a Space needs it.")


def assemble(root: Path, out: Path, torch_index: str | None = None) -> list[str]:
    """Write the Space's files into an empty or new folder; their names. Errors: SystemExit, OSError."""
    if out.exists() and any(out.iterdir()):
        raise SystemExit(f"{out} is not empty; give another folder, or remove it.")
    files = space_files(root)
    check_head((root / "README.md").read_text(encoding="utf-8"))
    for name, path in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / name)
    if torch_index:
        requirements = out / "requirements.txt"
        text = requirements.read_text(encoding="utf-8")
        requirements.write_text(f"--extra-index-url {torch_index}\n{text}", encoding="utf-8")
    return list(files)


def push(out: Path, repo: str, message: str) -> str:
    """Make the Space hold exactly the files of a folder (made if need be); the address of the commit."""
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(repo, repo_type="space", space_sdk="gradio", exist_ok=True)
    found = api.upload_folder(
        repo_id=repo, repo_type="space", folder_path=out, commit_message=message, delete_patterns="*"
    )
    return found.commit_url


def main(words: list[str] | None = None) -> None:
    """Assemble, and push where asked."""
    parser = argparse.ArgumentParser(description="Assemble a Hugging Face Space from this repository.")
    parser.add_argument("out", type=Path, metavar="SPACE_DIR")
    parser.add_argument("--push", metavar="USER/SPACE", help="publish it there")
    parser.add_argument("--torch-index", metavar="ADDRESS", default=os.environ.get("TORCH_INDEX"),
                        help="take torch from this index of CPU wheels ($TORCH_INDEX)")  # fmt: skip
    parser.add_argument("--message", default="Deploy Melformer.", help="of the commit")
    args = parser.parse_args(words)
    names = assemble(ROOT, args.out, args.torch_index)
    size = sum((args.out / name).stat().st_size for name in names)
    print(f"{args.out}: {len(names)} files, {size / 1e6:.0f} MB")
    if args.push:
        print(push(args.out, args.push, args.message))


if __name__ == "__main__":
    sys.exit(main())
