"""The `chalkgrad` command: its commands and their texts. What they do is in commands/, and what their options take."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import click

from . import __version__
from .commands.group import Commands, Failure, usage
from .commands.options import (
    Name,
    Sizes,
    Whole,
    by_dataset,
    check_device,
    check_rate,
    device_option,
    lang_option,
    seed_option,
    shape_option,
)
from .commands.settings import DEFAULTS, MODELS, Settings, settings_to_resume
from .commands.train import Kept, Shown
from .commands.train import train as run_training
from .early import heed, is_command
from .engine.streams import as_readable
from .errors import ChalkgradError
from .optim import OPTIMIZERS


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try `chalkgrad train`: it takes a second and needs no network.",
)
@click.version_option(__version__, "-V", "--version", prog_name="chalkgrad")
def cli() -> None:
    """A neural-net engine that you can read off the blackboard, prove, and run at GPU speed."""


@cli.command(
    epilog="""\b
Examples:
  chalkgrad train
  chalkgrad train mnist --epochs 5 --device auto
  chalkgrad train mnist --model cnn
  chalkgrad train mnist --watch --open
  chalkgrad train digits --hidden 64,32 --optimizer rmsprop --seed 7 --out runs/small
  chalkgrad train --resume runs/small
  chalkgrad train shakespeare"""
)
@click.argument("dataset", type=Name("data set", DEFAULTS), default="digits")
@click.option(
    "--model", type=Name("model", MODELS), metavar="NAME", default="mlp", show_default=True,
    help="mlp: dense layers; cnn: two layers of convolutions before them.",
)  # fmt: skip
@click.option("--epochs", type=Whole(1), metavar="N", help=f"Passes over the data.{by_dataset('epochs')}")
@click.option("--batch-size", type=Whole(1), metavar="N", help=f"Images an update.{by_dataset('batch_size')}")
@click.option(
    "--learning-rate", type=float, metavar="α", callback=check_rate, help="Step size.  [default: the optimizer's own]"
)
@click.option(
    "--optimizer", type=Name("optimizer", OPTIMIZERS), metavar="NAME", default="adam", show_default=True,
    help=f"The update equation: {', '.join(OPTIMIZERS)}.",
)  # fmt: skip
@click.option(
    "--hidden", type=Sizes(), metavar="N,…", multiple=True, default=("128",),
    help="Units of each hidden layer, as in 128,64.  [default: 128]",
)  # fmt: skip
@seed_option("What weights and order are drawn from.")
@device_option
@click.option("--out", metavar="FOLDER", help="Where the run is kept.  [default: runs/DATASET-TIME]")
@click.option("--overwrite", is_flag=True, help="Replace the run that is in that folder.")
@click.option("--resume", "run", metavar="RUN", help="Go on with the run in this folder, with its own settings; more "
              "--epochs may be asked for.")  # fmt: skip
@click.option(
    "--checkpoint-seconds", type=click.FloatRange(0), metavar="S", default=60, show_default=True,
    help="Keep how far an epoch has come, too, when so many have gone since the last time.",
)  # fmt: skip
@click.option(
    "--rank-timeout", type=click.FloatRange(1), metavar="S", default=300, show_default=True,
    help="With mpirun: end all when a rank has not answered for so many seconds.",
)  # fmt: skip
@click.option(
    "--verbose", type=Name("verbosity", ("0", "1", "2", "auto")), default="auto", show_default=True,
    help="0: the result alone; 1, auto: a live bar on a terminal; 2: a line an epoch.",
)  # fmt: skip
@click.option("--watch", is_flag=True, help="Write a page, watch.html, that shows the training while it goes on.")
@click.option("--open", "open_page", is_flag=True, help="Open that page in a browser.")
@lang_option("The language of the messages, and that the page opens with.")
@click.pass_context
def train(
    ctx: click.Context, /, out: str | None, verbose: str, hidden: tuple[tuple[int, ...], ...], watch: bool,
    open_page: bool, lang: str, overwrite: bool, run: str | None, checkpoint_seconds: float, rank_timeout: float,
    **options: Any,
) -> None:  # fmt: skip
    """Train a network on handwritten digits, or on a text, and keep it.

    DATASET is digits (8×8, comes with chalkgrad), mnist (28×28, downloaded once) or shakespeare: a small GPT that
    learns which character comes next, with nanoGPT's settings; 250 updates are an epoch there.

    The run's folder gets the model of the last whole epoch (also where it is killed); at the end, also after Ctrl-C,
    the history as CSV and JSON, the settings, the learning curves, and the test digits that it is most mistaken about.
    A run that was killed or stopped goes on with --resume: it ends as one that was not, to the last bit.
    """
    options["hidden"] = tuple(size for sizes in hidden for size in sizes)
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    if run is not None:
        for name in given & {"out", "overwrite"}:
            raise click.UsageError(f"--resume writes into the run's own folder, so it takes no --{name}.", ctx)
    with usage():
        if run is None:
            settings = Settings.asked(options, given)
        else:
            settings = settings_to_resume(run, {name: value for name, value in options.items() if name in given})
    shown = Shown(verbose if verbose == "auto" else int(verbose), lang, watch or open_page, open_page)
    kept = Kept(run or out, overwrite, run is not None, checkpoint_seconds, rank_timeout)
    ctx.exit(run_training(settings, kept, shown))


@cli.command(
    epilog="""\b
Examples:
  chalkgrad predict runs/mnist-20260131-120000 seven.png
  chalkgrad predict runs/small/model.safetensors scans/*.png"""
)
@click.argument("run")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.pass_context
def predict(ctx: click.Context, /, run: str, images: tuple[str, ...]) -> None:
    """Tell which digit is on each IMAGE.

    RUN is the folder of a run, or a model file.

    Images may have any size and colour, dark on light or light on dark: the digit is cropped, scaled and centred as
    in the data that the model was trained on. An image of just the model's size is taken as it is. Drawings of your
    own are better read by a model trained on mnist: 8×8 pixels are few.
    """
    from .commands.predict import predict

    ctx.exit(predict(run, images))


@cli.command(
    epilog="""\b
Examples:
  chalkgrad export runs/mnist digits.html
  chalkgrad export runs/mnist digits.html --trainable
  chalkgrad export runs/mnist/model.safetensors small.html --int8
  chalkgrad export runs/mnist net.onnx"""
)
@click.argument("run", metavar="RUN")
@click.argument("target", metavar="FILE")
@click.option("--trainable", is_flag=True, default=None, help="The page can go on learning from what is drawn on it.")
@click.option(
    "--with-optimizer", is_flag=True, default=None, help="It goes on in the optimiser's state, not at its first step."
)
@click.option(
    "--int8", is_flag=True, default=None, help="Round the weights to a byte each; the loss of accuracy is told."
)
@click.option("--lang", type=Name("language", ("en", "zh")), metavar="LANG", help="The language the page opens with.")
@click.option("--opset", type=int, metavar="N", help="ONNX: the version of its operators; 17 by default, or later.")
@click.option(
    "--length",
    type=Whole(1),
    metavar="N",
    help="ONNX: steps of a sequence, where the model leaves them open; else the file does.",
)
@click.option("--uint8", is_flag=True, default=None, help="ONNX: the file takes bytes, 0 to 255, and divides by 255.")
@click.pass_context
def export(ctx: click.Context, /, run: str, target: str, **options: Any) -> None:
    """Write a trained model into FILE, for where people use it; its ending says as what.

    RUN is the folder of a run, or a model file.

    .html: one page that reads what is drawn on it, in the browser, offline, and tells on opening whether it computes
    what Python computed.

    .onnx: a file that other runtimes take, compared with onnxruntime where that is installed.
    """
    from .commands.export import export

    ctx.exit(export(run, target, **options))


@cli.command(
    "import",
    epilog="""\b
Examples:
  chalkgrad import net.onnx net.safetensors
  chalkgrad export net.safetensors net.html""",
)
@click.argument("source", metavar="FILE.onnx")
@click.argument("target", metavar="MODEL")
@click.pass_context
def import_(ctx: click.Context, /, source: str, target: str) -> None:
    """Make a model file of an ONNX file: to be trained on in Python, served, exported.

    MODEL ends with .safetensors. The operators' version is 13 or later; what has no counterpart here is named.
    """
    from .commands.export import import_onnx

    ctx.exit(import_onnx(source, target))


@cli.command(
    epilog="""\b
Examples:
  chalkgrad serve runs/mnist-20260131-120000
  curl http://127.0.0.1:8000/predict -d '{"instances": [[0.0, 0.5, 1.0]]}'"""
)
@click.argument("run")
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="0.0.0.0: other machines too.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", default=8000, show_default=True, help="0: a free one."
)
@click.option(
    "--batch", type=Whole(1), metavar="N", default=64, show_default=True, help="Most samples of a forward pass."
)
@click.option(
    "--wait", type=click.FloatRange(0, 1000), metavar="MS", default=2.0, show_default=True,
    help="Milliseconds that a sample waits for others.",
)  # fmt: skip
@click.option("--queue", type=Whole(1), metavar="N", default=1024, show_default=True, help="Most samples that wait.")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 3600), metavar="S", default=10.0, show_default=True,
    help="Seconds in which a request is read and answered.",
)  # fmt: skip
@click.option("--size", type=Whole(1), metavar="BYTES", default=4_000_000, show_default=True, help="Largest request.")
def serve(run: str, host: str, port: int, wait: float, **limits: Any) -> None:
    """Answer requests over HTTP: POST /predict takes {"instances": [...]}, GET /health tells how it is.

    RUN is the folder of a run, or a model file. Samples that wait are computed together. SIGTERM and Ctrl-C end it when
    all accepted requests are answered.
    """
    from .commands.serve import serve
    from .deploy.server import Limits

    serve(run, host, port, Limits(wait=wait / 1000, **limits))


@cli.command()
@click.option("--out", metavar="FILE", default="playground.html", show_default=True, help="The page.")
@click.option("--open", "open_page", is_flag=True, help="Show it in the browser.")
@lang_option("The language that the page opens with; a button on it changes that.")
def playground(out: str, open_page: bool, lang: str) -> None:
    """Write a page on which a small net learns points of the plane: its neurons, its equations with live numbers.

    Points, layers, activation function, optimiser and rate are chosen on the page. It works offline.
    """
    from .commands.playground import write

    write(out, open_page, lang)


@cli.command(
    epilog="""\b
Examples:
  chalkgrad generate runs/shakespeare-20260131-120000 --prompt ROMEO:
  chalkgrad generate gpt2 --prompt "The chalk" --tokens 50 --top-p 0.95 --seed 7"""
)
@click.argument("run")
@click.option("--prompt", metavar="TEXT", default="\n", help="What it goes on after.  [default: an empty line]")
@click.option(
    "--tokens", "count", type=Whole(0), metavar="N", default=200, show_default=True, help="How many it draws."
)
@click.option(
    "--temperature", type=click.FloatRange(0), metavar="T", default=1.0, show_default=True,
    help="What logits are divided by: 0 takes the most probable token each time.",
)  # fmt: skip
@click.option("--top-k", type=Whole(1), metavar="K", help="From so many of the most probable tokens alone.")
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), metavar="P",
    help="From the fewest whose probabilities sum to this.",
)  # fmt: skip
@seed_option("What tokens are drawn from.")
@device_option
def generate(**options: Any) -> None:
    """Write on after a text.

    RUN is the folder of a run of `chalkgrad train shakespeare`, or one of GPT-2 as Hugging Face's transformers writes
    it, with tokenizer.json (which needs the extra "text"). Each token is shown as soon as it is drawn.
    """
    from .commands.generate import generate

    with usage():
        generate(**options)


@cli.command(
    epilog="""\b
Example:
  chalkgrad embed all-MiniLM-L6-v2 "a cat sleeps" "a kitten naps" "shares fell today\""""
)
@click.argument("model")
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="The vectors, as JSON.")
@device_option
def embed(model: str, **options: Any) -> None:
    """Rank texts by how near their meaning is to the first one's.

    MODEL is the folder of a BERT as Hugging Face's transformers writes it, with tokenizer.json (which needs the extra
    "text"). A text's vector is the mean of its tokens', of length 1; the figure is the cosine of the angle.
    """
    from .commands.generate import embed

    embed(model, **options)


@cli.command(
    epilog="""\b
Examples:
  chalkgrad doctor
  chalkgrad doctor --json
  chalkgrad doctor --compile"""
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs and bug reports.")
@click.option("--compile", "compiles", is_flag=True, help="First compile a GPU's kernels, once for this machine.")
def doctor(as_json: bool, compiles: bool) -> None:
    """Say what is installed and what is missing.

    It looks at versions, BLAS and its threads, CuPy, driver and GPUs, data sets and optional extras, and names the
    command for what is missing.
    """
    from .commands.doctor import doctor

    doctor(as_json, compiles)


@cli.command(
    epilog="""\b
A function's inputs are, by the first of these that is there:
  --shape 3x4               once for each argument; drawn, standard normal, with --seed
  f.inputs or f_inputs      in the file: a tuple, or a function that returns one
  def f(x=np.ones(3)):      the leading defaults, where they are floats or arrays of floats;
                            a number is drawn for an argument annotated `x: float`
\b
A function of NumPy arrays also needs its gradient, in the file, as attribute or beside it:
  f.vjp, f_vjp(gy, *inputs)            one gradient for each input
  f.gradient, f_gradient(*inputs)      the same where the value of f is one number
\b
Examples:
  chalkgrad prove
  chalkgrad prove sigmoid matmul --order 2
  chalkgrad prove model.py:loss --shape 3x4 --shape 4
  chalkgrad prove --html proof.html --json proof.json
  chalkgrad prove --device gpu"""
)
@click.argument("what", metavar="[WHAT]...", nargs=-1)
@click.option(
    "--order", type=Name("order", ("1", "2")), metavar="1|2",
    help="2: the gradient's own gradient too.  [default: both for a primitive, 1 for a function]",
)  # fmt: skip
@click.option(
    "--dtype", type=Name("dtype", ("float64", "float32")), metavar="NAME",
    help="float64 or float32.  [default: both for a primitive, that of its inputs for a function]",
)  # fmt: skip
@shape_option
@seed_option()
@click.option(
    "--kinks", type=Name("way", ("report", "accept")), metavar="report|accept", default="report", show_default=True,
    help="accept: a function's inputs may stand on kinks, where its gradient is then one of its slopes.",
)  # fmt: skip
@device_option
@click.option("--max-seconds", type=float, metavar="S", callback=check_rate, help="Time for everything together.")
@click.option("--json", "json_file", metavar="FILE", help="All reports; - for standard output.")
@click.option("--html", "html_file", metavar="FILE", help="One page with every proof, for a browser.")
@click.pass_context
def prove(
    ctx: click.Context, /, what: tuple[str, ...], json_file: str | None, html_file: str | None,
    order: str | None, **options: Any,
) -> None:  # fmt: skip
    """Prove that gradients are derivatives.

    WHAT is a primitive, or FILE.py:FUNCTION for a function of yours; all primitives where it is left out. A primitive
    that your file declares is proven as our own are. The file is run, with all that it does, as by `python FILE.py`.
    With --device gpu values and gradients are computed there, and compared here with the same.

    Exit code 0: everything is proven. 1: something is not. 2: wrong usage.
    """
    from .commands.prove import prove
    from .commands.prove_targets import Options

    with usage():
        ctx.exit(prove(what, Options(order=int(order) if order else None, **options), json_file, html_file))


@cli.command(
    epilog="""\b
Examples:
  chalkgrad explain
  chalkgrad explain --step-by-step
  chalkgrad explain --format html --open
  chalkgrad explain digits --step 100
  chalkgrad explain runs/digits-20260101-120000 --format markdown
  chalkgrad explain runs/small --layer 2 --head 3
  chalkgrad explain my.py:loss --shape 3x4 --lang zh"""
)
@click.argument("what", metavar="[WHAT]", default="worked-example")
@click.option("--step", type=Whole(0), metavar="N", help="Of a training: the update after N others.  [default: 0; a "
              "run: its next]")  # fmt: skip
@click.option(
    "--format", "form", type=Name("format", ("terminal", "html", "markdown", "latex", "notebook")), metavar="NAME",
    default="terminal", show_default=True, help="terminal, html, markdown, latex or notebook.",
)  # fmt: skip
@lang_option("Language of the words: en or zh.")
@click.option("--out", metavar="FILE", help="Where to write.  [default: WHAT with the format's ending]")
@click.option("--open", "open_page", is_flag=True, help="Show the page in a browser.")
@click.option("--step-by-step", is_flag=True, help="In a terminal: wait for a key after each step.")
@shape_option
@seed_option()
@click.option("--text", "words", metavar="TEXT", help="Of a model of texts: the text that its heads look at.")
@click.option("--layer", type=Whole(1), metavar="N", default=1, help="The layer of that head.")
@click.option("--head", type=Whole(1), metavar="N", default=1, help="Which of its heads.")
@click.option("--token", type=Whole(1), metavar="N", help="The token that is told in numbers.  [default: the last]")
def explain(words: str | None, layer: int, head: int, token: int | None, **options: Any) -> None:
    """Show the documented equations with live numbers.

    WHAT is worked-example (the documented net, every equation D1-D17), digits (a training on digits), the folder of a
    run, or FILE.py:FUNCTION for a function of yours; the file is run, with all that it does. Of a model of texts, a run
    or a folder of GPT-2 or BERT, it is what each head of its attention looks at. Each step forward and
    backward stands there with its equation, the same with the numbers put in, the result, and the derivative taken by
    numbers beside the gradient.
    """
    from .commands.explain import Request, explain
    from .commands.explain_heads import Chosen

    explain(Request(**options, chosen=Chosen(words, layer, head, token)))


@cli.command(
    epilog="""\b
Examples:
  chalkgrad reproduce --quick
  chalkgrad reproduce --only documented
  chalkgrad reproduce --only cnn --seed 0 --validate --epochs 10"""
)
@click.option("--only", metavar="NAME", multiple=True, help="documented, means or cnn; may be given several times.")
@click.option(
    "--seed", "seeds", type=Whole(0), metavar="N", multiple=True, help="This seed; may be given several times."
)
@click.option("--epochs", type=Whole(1), metavar="N", help="Instead of 10, 500 and 45.")
@click.option("--quick", is_flag=True, help="About a minute: one seed and a few epochs of each.")
@click.option("--validate", is_flag=True, help="Leave the test images alone: train without the last 10,000 training "
              "images, and be judged by those.")  # fmt: skip
@click.option("--out", metavar="FOLDER", default="runs/reproduction", show_default=True, help="Where results are kept.")
@click.option("--report", metavar="FILE", help="The Markdown file to write.  [default: reproduction.md in FOLDER]")
def reproduce(only: tuple[str, ...], seeds: tuple[int, ...], out: str, report: str | None, **options: Any) -> None:
    """Train what the documented result is about, and write what comes of it.

    documented: the documented program, as it is, with five seeds. means: the same net, with distorted images, a
    schedule and averaged weights, three seeds. cnn: a small convolutional net with the same means, three seeds.
    Everything needs about an hour and a half of one core.

    Each seed's result is kept by itself: called again, it goes on where it was.
    """
    from pathlib import Path

    from .commands.reproduce import Request, reproduce

    request = Request(only, seeds, **options)
    reproduce(request, Path(out), Path(report) if report else None)


@cli.command(
    epilog="""\b
Examples:
  chalkgrad sweep digits --set learning_rate=0.001,0.01 --set optimizer=adam,sgd --seeds 3 --out runs/rates
  mpirun -n 5 chalkgrad sweep mnist --set hidden=128,256x128 --seeds 5 --out runs/sizes"""
)
@click.argument("dataset", type=Name("data set", DEFAULTS))
@click.option("--set", "chosen", multiple=True, metavar="NAME=V,V,…",
              help="A setting of `train`, and the values to try; sizes of hidden layers as 256x128.")  # fmt: skip
@click.option("--seeds", type=Whole(1), default=3, show_default=True, metavar="N", help="How many, from 0 on.")
@click.option("--out", required=True, metavar="FOLDER", help="Where runs, figures and sweep.json are kept.")
@click.pass_context
def sweep(ctx: click.Context, /, dataset: str, chosen: tuple[str, ...], seeds: int, out: str) -> None:
    """Train a net with several settings and seeds, and compare.

    Each choice of settings is trained with each seed, by the ranks that mpirun has started, the first of which hands
    out, or one after another. Each one's figures are kept as soon as they are there: called again, it goes on.
    """
    from .commands.sweep import run_sweep

    with usage():
        ctx.exit(run_sweep(dataset, chosen, seeds, out))


@cli.command(
    epilog="""\b
Examples:
  chalkgrad bench --quick
  chalkgrad bench --json speed.json --svg speed.svg --csv speed.csv
  chalkgrad bench --only mnist --only chain --contestants captured,"jax step"
  chalkgrad bench --device gpu --json
  chalkgrad bench --compare speed.json
  chalkgrad bench --show here.json --show there.json"""
)
@click.option("--quick", is_flag=True, help="About a minute: smaller, fewer workloads and rounds.")
@click.option(
    "--device", metavar="NAME", default="cpu", show_default=True, callback=check_device,
    help="cpu, gpu or gpu:N. On a GPU: MNIST beside PyTorch and JAX, launches, large products, CPU against GPU.",
)  # fmt: skip
@click.option("--only", metavar="WORKLOAD", multiple=True, help="This workload; may be given several times.")
@click.option("--contestants", metavar="NAME,…", default="", help="These alone, and numpy, which all are held against.")
@click.option("--rounds", type=Whole(1), metavar="N", help="Timed repetitions of each contestant.  [default: 9; 5]")
@seed_option("What the turns are drawn from.")
@click.option("--max-seconds", type=float, metavar="S", callback=check_rate, help="On a GPU: for each section.")
@click.option("--growth", is_flag=True, help="Instead: how the cost grows with batch, width, depth, samples, length.")
@click.option(
    "--json", "json_file", metavar="[FILE]", is_flag=False, flag_value="",
    help="Every sample, with versions and machine.  [without FILE: speed.json, growth.json or gpu.json in "
    "benchmarks/results]",
)  # fmt: skip
@click.option("--svg", "svg_file", metavar="FILE", help="A chart.")
@click.option(
    "--roofline", "roofline_file", metavar="FILE",
    help="A chart (SVG): operations a second over operations a byte, below what the cores and memory allow.",
)  # fmt: skip
@click.option("--csv", "csv_file", metavar="FILE", help="A row for each workload and contestant, for a table program.")
@click.option("--compare", "old_file", metavar="FILE", help="What --json wrote earlier: has anything become slower?")
@click.option(
    "--show", "shown", metavar="FILE", multiple=True,
    help="Run nothing, and show what --json wrote; several files, of CPU and GPU, stand side by side; with --csv.",
)  # fmt: skip
@click.option("--list", "list_only", is_flag=True, help="Show workloads and contestants, and run nothing.")
@click.pass_context
def bench(
    ctx: click.Context,
    /,
    only: tuple[str, ...],
    contestants: str,
    shown: tuple[str, ...],
    list_only: bool,
    **options: Any,
) -> None:
    """Measure how fast chalkgrad is here.

    It stands beside hand-written NumPy, whichever of PyTorch, JAX, Keras, autograd and MyGrad are installed, and the
    limits of the machine. Each contestant has a process of its own; they take turns, and who does not reach the same
    loss is disqualified.

    Exit code 0: done. 1: with --compare, something of ours became slower; on a GPU, a section failed. 2: wrong usage.
    """
    from .commands.bench import Request, bench, show_list, show_reports

    if shown:
        show_reports(shown, options["csv_file"])
        return
    if list_only:
        show_list(options["device"])
        return
    names = tuple(name.strip() for name in contestants.split(",") if name.strip())
    with usage():
        ctx.exit(bench(Request(only, names, **options)))


def main() -> None:
    """The entry point of the `chalkgrad` command.

    Exit codes: 0, 1 an error or a pipe that its reader has closed, 2 wrong usage, 128 + the number of the signal that
    has ended it: 130 after Ctrl-C.
    """
    if is_command():  # a program that calls this keeps its signals
        heed()
    sys.stdout, sys.stderr = as_readable(sys.stdout), as_readable(sys.stderr)
    try:
        try:
            cli(prog_name="chalkgrad")
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except (ChalkgradError, BrokenPipeError) as error:
        if isinstance(error, ChalkgradError):
            Failure(str(error)).show()
        with contextlib.suppress(OSError):  # what is left in the buffer has no place: else Python complains at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
