"""`cabin`: the group of all verbs. What is not a verb is a request.

A verb's module is imported only when the verb is used or listed, and imports what is heavy only
when it runs, so that `cabin --help` answers in an instant.
"""

import sys
from importlib import import_module
from io import TextIOWrapper

import click

import cabinos
from cabinos.cli.errors import clear_errors

# Heading → verb → (where it is, what it does), in the order in which a newcomer meets them. The
# sentences stand here too, so that listing the verbs imports none of them.
SECTIONS = {
    "Say what you want": {
        "do": (
            "cabinos.cli.do:do_command",
            'Do what REQUEST asks for: `cabin "REQUEST"` for short.',
        ),
        "chat": (
            "cabinos.cli.chat:chat_command",
            "Talk: begin a conversation, or go on with process PID.",
        ),
        "exec": (
            "cabinos.cli.execute:exec_command",
            "Run CODE, a Python program, as a process, and print its value.",
        ),
    },
    "Processes": {
        "ps": (
            "cabinos.cli.processes:ps_command",
            "List the processes.",
        ),
        "top": (
            "cabinos.cli.top:top_command",
            "Watch the processes: who runs, who waits, and how fast tokens come.",
        ),
        "log": (
            "cabinos.cli.log:log_command",
            "Show what process PID did and said; without PID: all of them.",
        ),
        "attach": (
            "cabinos.cli.attach:attach_command",
            "Follow process PID, and answer what it asks.",
        ),
        "cont": (
            "cabinos.cli.attach:cont_command",
            "Let stopped processes go on.",
        ),
        "stop": (
            "cabinos.cli.processes:stop_command",
            "Stop processes until `cabin cont`.",
        ),
        "kill": (
            "cabinos.cli.processes:kill_command",
            "End processes and their descendants.",
        ),
        "nice": (
            "cabinos.cli.processes:nice_command",
            "Give process PID more of its model (N to -20) or less (N to 19).",
        ),
        "fork": (
            "cabinos.cli.processes:fork_command",
            "Make a child that goes on from where PID is, over the same pages.",
        ),
        "send": (
            "cabinos.cli.attach:send_command",
            "Send process PID a message; it reads it before its next thought.",
        ),
        "mem": (
            "cabinos.cli.memory:mem_group",
            "Look into memory: pages of processes, and notes.",
        ),
        "replay": (
            "cabinos.cli.log:replay_command",
            "Run process PID again over its journal: is every step the same?",
        ),
    },
    "Documents": {
        "index": (
            "cabinos.cli.index:index_command",
            "Make the files in PATHS searchable; without PATHS, bring the index up to date.",
        ),
        "search": (
            "cabinos.cli.search:search_command",
            "Find the passages of indexed files that fit QUERY best, by words and by meaning.",
        ),
    },
    "Questions": {
        "asks": (
            "cabinos.cli.asks:asks_command",
            "List the open questions: of process PID, or all.",
        ),
        "approve": (
            "cabinos.cli.asks:approve_command",
            "Allow what question ASK is about, this once.",
        ),
        "deny": (
            "cabinos.cli.asks:deny_command",
            "Refuse what question ASK is about.",
        ),
        "answer": (
            "cabinos.cli.asks:answer_command",
            "Answer question ASK in words.",
        ),
    },
    "Skills": {
        "skill": (
            "cabinos.cli.skill:skill_group",
            "Make, check, find and share skills: instructions with checked knowledge.",
        ),
    },
    "The machine": {
        "up": (
            "cabinos.cli.up:up_command",
            "Run the kernel here until Ctrl-C: whoever is ready goes on.",
        ),
        "serve": (
            "cabinos.cli.serve:serve_command",
            "Serve OpenAI's API: /v1/chat/completions, /v1/responses, /v1/models and more.",
        ),
        "mcp": (
            "cabinos.cli.mcp:mcp_command",
            "Serve MCP: processes, memory and skills for any client.",
        ),
        "spawn": (
            "cabinos.cli.up:spawn_command",
            "Start a process on REQUEST and leave it to the kernel that runs.",
        ),
        "doctor": (
            "cabinos.cli.doctor:doctor_command",
            "Say what is there, what is missing and what is broken.",
        ),
        "completion": (
            "cabinos.cli.completion:completion_command",
            "Print the completion script for SHELL.",
        ),
    },
    "Safety": {
        "redteam": (
            "cabinos.cli.redteam:redteam_group",
            "Attack Cabin's own monitor, and see what gets through.",
        ),
    },
    "Models": {
        "models": (
            "cabinos.cli.models:models_command",
            "List local models: GGUF files in PATHS (files or folders).",
        ),
        "run": (
            "cabinos.cli.run:run_command",
            "Continue PROMPT with the MODEL, a GGUF file.",
        ),
        "pack": (
            "cabinos.cli.pack:pack_command",
            "Pack the Hugging Face model in FOLDER into one GGUF file.",
        ),
        "verify": (
            "cabinos.cli.verify:verify_command",
            "Check that a brain's two files are the signed ones, to the last bit.",
        ),
        "sign": (
            "cabinos.cli.verify:sign_command",
            "Write the manifest of WEIGHTS, and sign it.",
        ),
    },
    "The workshop": {
        "data": (
            "cabinos.cli.data:data_command",
            "The texts that models are trained on.",
        ),
        "train": (
            "cabinos.cli.train:train_command",
            "Make a model: pre-train it, make it an assistant, export it.",
        ),
        "prefer": (
            "cabinos.cli.prefer:prefer_group",
            "Learn from comparisons: a reward model, or DPO.",
        ),
        "rl": (
            "cabinos.cli.rl:rl_group",
            "Learn from rewards: GRPO or PPO on tasks that can be checked.",
        ),
        "eval": (
            "cabinos.cli.eval:eval_command",
            "Measure what MODEL (default: the brain) can do.",
        ),
        "label": (
            "cabinos.cli.label:label_command",
            "Compare answers, blind, and write down which is better.",
        ),
        "pairs": (
            "cabinos.cli.label:pairs_group",
            "Files of comparisons: what is in one, and other people's formats.",
        ),
        "arena": (
            "cabinos.cli.arena:arena_group",
            "Have models answer the same prompts, and find out who is better.",
        ),
        "emerge": (
            "cabinos.cli.emerge:emerge_command",
            "See when a training run learnt what: grammar, facts, calculations.",
        ),
        "scale": (
            "cabinos.cli.scale:scale_command",
            "Scaling laws: plan small runs, run them, fit a law, predict the next run, check it.",
        ),
        "inspect": (
            "cabinos.cli.inspect:inspect_group",
            "Look inside a model: what each part does with a text, and what happens without it.",
        ),
        "compress": (
            "cabinos.cli.compress:compress_command",
            "Pack FILE (- for stdin) losslessly with a model; the same model unpacks it.",
        ),
        "decompress": (
            "cabinos.cli.compress:decompress_command",
            "Unpack FILE (- for stdin) with the model that packed it.",
        ),
    },
}
COMMANDS = {verb: place for verbs in SECTIONS.values() for verb, (place, _) in verbs.items()}
REQUEST = "do"  # the verb that need not be said
SIMILAR = 0.75  # from where on a word is taken for a mistyped verb


class LazyGroup(click.Group):
    """A group whose commands are named in `COMMANDS` as `module:attribute`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; None if there is no such verb."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs under their headings, with a sentence each."""
        for heading, verbs in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(verb, does) for verb, (_, does) in verbs.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts the main job's verb before what begins with no verb: `cabin --files . "request"`."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        first = next((i for i, arg in enumerate(args) if arg not in own), len(args))
        if first < len(args) and args[first] not in COMMANDS:
            self._suggest(ctx, args[first:])
            args = [*args[:first], REQUEST, *args[first:]]
        return super().parse_args(ctx, args)

    def _suggest(self, ctx: click.Context, args: list[str]) -> None:
        """Ends with a suggestion if the request is one word that looks like a verb."""
        import difflib

        words = [arg for arg in args if not arg.startswith("-")]
        if ctx.resilient_parsing or args[0] not in words or " " in args[0]:
            return
        near = difflib.get_close_matches(args[0].lower(), COMMANDS, 1, SIMILAR)
        if near:
            raise click.UsageError(
                f"no such command {args[0]!r}. Did you mean {near[0]!r}? If it is a request: "
                f'cabin {REQUEST} "{args[0]}".',
                ctx,
            )

    def invoke(self, ctx: click.Context) -> object:
        """Run the chosen verb, turning its errors into messages and exit codes."""
        with clear_errors(debug=ctx.params["debug"]):
            return super().invoke(ctx)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar='"REQUEST" | COMMAND [ARGS]...',
)
@click.version_option(cabinos.__version__, "-V", "--version", message="cabin %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:  # noqa: ARG001 - LazyGroup.invoke reads it
    """Cabin: an operating system whose kernel process is a language model.

    Say what you want: cabin "what is due this week?" --files ./notes
    """
    for stream in (sys.stdout, sys.stderr):  # a model may say what the terminal's code lacks
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
