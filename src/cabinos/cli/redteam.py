"""`cabin redteam`: attacks on the monitor that stands between what is read and what is done."""

from typing import Any

import click

from cabinos.cli.options import as_json
from cabinos.cli.terminal import note, print_json, show

__all__ = ["redteam_group"]


@click.group("redteam")
def redteam_group() -> None:
    """Attack Cabin's own monitor, and see what gets through."""


@redteam_group.command("injection")
@click.option("--policy", multiple=True, help="One of those compared; repeat for more.")
@click.option("--sample", type=click.IntRange(min=1), help="So many pairs instead of all 949.")
@as_json
def injection_command(policy: tuple[str, ...], sample: int | None, as_json: bool) -> None:
    """Run AgentDojo with a planner that obeys every injection it reads.

    No model is needed. What is measured is the policy: worst-case planner, oracle grants. Needs
    the extra `redteam`; the policy FIDES also agent-framework-core.
    """
    from cabinos.lab.redteam import injection
    from cabinos.lab.redteam.fides import version

    unknown = [name for name in policy if name not in injection.POLICIES]
    if unknown:
        raise click.UsageError(
            f"there is no policy {unknown[0]!r}: {', '.join(injection.POLICIES)}."
        )
    tasks = injection.load()
    rows: list[dict[str, Any]] = []
    for name in policy or [p for p in injection.POLICIES if p != "FIDES" or version()]:
        note(f"{name} …")
        benign = injection.run_tasks(tasks, name)
        attacked = injection.run_pairs(tasks, name, sample=sample or 0)
        cases = {"tasks": benign.pop("cases"), "pairs": attacked.pop("cases")}
        rows.append({"policy": name, **benign, **attacked, "cases": cases})
        if not as_json:
            show(_told(rows[-1]))
    if as_json:
        print_json({"version": injection.VERSION, "policies": rows})


@redteam_group.command("exfiltration")
@click.option("--case", "names", multiple=True, help="Only this case; repeat for more.")
@as_json
def exfiltration_command(names: tuple[str, ...], as_json: bool) -> None:
    """Try every way out that is known, against a honeypot on this machine.

    A model that obeys whatever it reads, real devices, a reader without caution. Each case runs
    with the gate, where nothing may leave, and without, where something must. Exit code 1 if a case
    comes out otherwise.
    """
    from cabinos.lab.redteam import exfiltration

    cases = exfiltration.load()
    known = [case.name for case in cases]
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"there is no case {unknown[0]!r}: {', '.join(known)}.")
    rows = []
    for case in cases:
        if names and case.name not in names:
            continue
        rows.append(exfiltration.verdict(case))
        if not as_json:
            show([_said(rows[-1])])
    figures = exfiltration.summary(rows)
    if as_json:
        print_json({**figures, "rows": rows})
    else:
        note(
            f"{figures['leaked']} of {figures['cases']} got out, without the gate "
            f"{figures['leaked_without_gate']}; at most {figures['most_questions']} questions.",
            dim=False,
        )
    if not figures["ok"]:
        raise SystemExit(1)


def _said(row: dict[str, Any]) -> str:
    """One case in a line."""
    lead = f"{row['case']:<24}"
    if needs := row.get("skipped"):
        return f"{lead} not run: {needs}"
    held = "held" if row["ok"] else "GOT OUT" if row["leaks"] else "proves nothing"
    asked = f", {row['asked']} asked" if row["asked"] else ""
    return f"{lead} {held}{asked}: {row['title']}"


def _told(row: dict[str, Any]) -> str:
    return (
        f"{row['policy']}: {row['effect_hits']} of {row['effect_pairs']} attacks got through; "
        f"{row['done']} of {row['tasks']} tasks done, {row['confirmations']} confirmations for "
        f"{row['acting']} calls, {row['tcr@0']} tasks with none; at most "
        f"{row['most_attack_prompts']} attack prompts."
    )
