"""`cabin verify` and `cabin sign`: whether a brain is the one that somebody put their name to."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cabinos.cli.errors import Failure

if TYPE_CHECKING:
    from cabinos.brain.manifest import Manifest

OURS = Path(__file__).parent.parent / "brain" / "cabin.pub"
RUNNER = Path(__file__).parent.parent / "engine" / "run.c"
GgufFile = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("verify")
@click.argument("weights", type=GgufFile, required=False)
@click.option("--key", "key_path", type=GgufFile, help="A minisign public key. [default: Cabin's]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify_command(weights: Path | None, key_path: Path | None, as_json: bool) -> None:
    """Check that a brain's two files are the signed ones, to the last bit.

    WEIGHTS is a GGUF file with its manifest and signature beside it; by default the brain in the
    box. Exit code 1 if anything does not fit.
    """
    from cabinos.brain.manifest import examine
    from cabinos.brain.minisign import PublicKey
    from cabinos.drivers.model.brain import BUILT_IN

    weights = weights or BUILT_IN
    if not weights.is_file():
        raise Failure(f"{weights}: this installation has no brain in the box. Name a GGUF file.")
    papers = examine(weights, RUNNER, PublicKey.read(key_path or OURS))
    if as_json:
        manifest = papers.manifest and json.loads(papers.manifest.text())
        facts = {
            "path": str(weights),
            "problem": papers.problem,
            "signed_by": papers.signed_by,
            "comment": papers.comment,
            "manifest": manifest,
        }
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    elif not papers.problem:
        assert papers.manifest is not None
        click.echo(f"{weights}: as signed by {papers.signed_by} ({papers.comment})")
        click.echo(f"run.c {papers.manifest.runner[:16]}…, weights {papers.manifest.weights[:16]}…")
        if papers.manifest.command:
            click.echo(f"made by: {papers.manifest.command}")
    if papers.problem:
        raise Failure(f"{weights}: {papers.problem}")


@click.command("sign")
@click.argument("weights", type=GgufFile, required=False)
@click.option(
    "--key",
    "key_path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="A minisign secret key without a password.",
)
@click.option("--new-key", is_flag=True, help="Make that key first; KEY.pub is its public half.")
@click.option(
    "--from-run",
    "run",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The run of `cabin train` that it came from: its texts and tokenizer are listed.",
)
@click.option("--command", default="", help="What makes the weights again.")
@click.option("--parent", type=GgufFile, help="The GGUF file that it was finetuned from.")
@click.option("--comment", default="", help="Is signed too, and shown by verify.")
def sign_command(
    weights: Path | None,
    key_path: Path,
    new_key: bool,
    run: Path | None,
    command: str,
    parent: Path | None,
    comment: str,
) -> None:
    """Write the manifest of WEIGHTS, and sign it.

    The signature is minisign's: `minisign -Vm NAME.gguf.manifest.json -p KEY.pub` checks it too.
    """
    from cabinos.brain.manifest import sign
    from cabinos.brain.minisign import SecretKey

    if new_key:
        key = SecretKey.generate()
        key.write(key_path)
        key_path.with_name(key_path.name + ".pub").write_text(key.public().text())
        click.echo(f"{key_path}: a new key; {key_path}.pub is for everybody")
    if weights is None:
        if not new_key:
            raise click.UsageError("which GGUF file?")
        return
    key = SecretKey.read(key_path)
    manifest = _manifest(weights, run, command, parent)
    path = sign(weights, manifest, key, comment or f"file:{weights.name}")
    click.echo(f"{path}: signed")


def _manifest(weights: Path, run: Path | None, command: str, parent: Path | None) -> "Manifest":
    """What can be said of a GGUF file, and of the run that it came from."""
    import hashlib

    from cabinos.brain.manifest import Manifest, sha256
    from cabinos.engine.gguf import read_gguf
    from cabinos.train import sources

    metadata = read_gguf(weights).metadata
    template = str(metadata.get("tokenizer.chat_template", ""))
    kept = ("name", "repository", "commit", "licence", "sha256")
    texts = [source for source in sources.manifest().values() if source.domain] if run else []
    return Manifest(
        weights=sha256(weights),
        size=weights.stat().st_size,
        runner=sha256(RUNNER),
        name=str(metadata.get("general.name", weights.stem)),
        tokenizer=sha256(run / "tokenizer.json") if run else "",
        template=hashlib.sha256(template.encode()).hexdigest() if template else "",
        command=command,
        parent=sha256(parent) if parent else "",
        data=[{key: getattr(source, key) for key in kept} for source in texts],
    )
