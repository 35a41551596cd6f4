"""`melformer hub`: publish a checkpoint, fetch one."""

from argparse import Namespace
from typing import Any

from melformer.cli.parser import add_command, add_group


def add_parsers(commands: Any) -> None:
    group = add_group(commands, "hub", "publish a checkpoint on the Hugging Face Hub, or fetch one")
    parser = add_command(group, "push", push, "publish a checkpoint, with its model card")
    parser.add_argument("dir", metavar="DIR", help="the checkpoint's folder")
    parser.add_argument("repo", metavar="REPO", help="user/repo; made if there is none")
    parser.add_argument("--tag", metavar="TAG", help="name this commit, so that others can pin it")
    parser.add_argument("--private", action="store_true", help="make the repository private, if there is none yet")
    parser = add_command(group, "pull", pull, "fetch a checkpoint and check it")
    parser.add_argument("repo", metavar="REPO", help="user/repo[@revision]")
    parser.add_argument("dir", metavar="DIR", nargs="?", help="copy it there (else it stays in the cache)")
    parser.add_argument("--revision", metavar="REV", help="a branch, tag or commit")


def push(args: Namespace) -> None:
    from melformer.hub import push_bundle

    pushed = push_bundle(args.dir, args.repo, tag=args.tag, private=args.private)
    print(f"{pushed.url} {pushed.commit}{'' if pushed.changed else ' (unchanged)'}")


def pull(args: Namespace) -> None:
    from melformer.hub import load_bundle, pull_bundle

    if args.dir is None:
        bundle = load_bundle(args.repo, args.revision)
    else:
        bundle = pull_bundle(args.repo, args.dir, args.revision)
    print(f"{args.dir or bundle.path} {bundle.revision or ''}".rstrip())
