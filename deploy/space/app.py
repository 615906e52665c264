"""LogMoE in a browser: drop a log, and a healthy one if there is one, and see what is odd in it.

A Space on the Hub, or `python app.py` anywhere; docs/space.md says how to set one up. Nothing leaves the machine, and
no file stays on it: a log is deleted once it is judged, its reports some minutes later.
"""

import html
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from judging import MEGABYTES, PAGE_CHARACTERS, REPORTS, SECONDS, WORKERS, NotJudged, Workers, framed

# Of uploads and of what visitors save. Gradio reads its name when the page is made.
TEMPORARY = tempfile.TemporaryDirectory(prefix="logmoe-space-")
os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": os.path.realpath(TEMPORARY.name)}

HERE = Path(__file__).resolve().parent
# Beside this file in a Space, in the folder of examples in the repository.
EXAMPLES = next(folder for folder in (HERE, HERE.parents[1] / "examples") if (folder / "apache-faulty.log").is_file())
# Seconds until what was written for a visitor is deleted; logs that may wait.
KEPT, QUEUE = 600, 16

INTRODUCTION = """
# LogMoE

Drop a log: see what is odd in it, since when, in which lines, and why. With a healthy log beside it, such as
yesterday's, it shows what that one did not have; without one it shows what stands out. The example is a web server's
log with three faults in it, and a healthy one.
"""
LIMITS = f"""
Up to {MEGABYTES} MB each, also compressed (gzip, bzip2, xz, zstd), and {SECONDS:g} seconds. Files are deleted once
they are judged, the reports {KEPT // 60} minutes later; nothing is sent anywhere else. Whoever runs this machine could
read them: do not give it secrets.
"""


def interface(workers: Workers) -> gr.Blocks:
    """The page.

    Args:
        workers: what judges.
    """

    def judge(log: str | None, healthy: str | None) -> Iterator[list[Any]]:
        try:
            yield from answer(log, healthy)
        finally:
            for upload in filter(None, (log, healthy)):
                Path(upload).unlink(missing_ok=True)

    def judge_example() -> Iterator[list[Any]]:
        yield from answer(str(EXAMPLES / "apache-faulty.log"), str(EXAMPLES / "apache-healthy.log"))

    def answer(log: str | None, healthy: str | None) -> Iterator[list[Any]]:
        """What all outputs become: first nothing, for an earlier answer is none to this log."""
        hidden = [gr.update(visible=False)] * len(REPORTS)
        yield [gr.HTML("", visible=False), *hidden, gr.skip(), gr.skip()]
        # Gradio copies what it gives out; ours are gone when it asks for more.
        with tempfile.TemporaryDirectory() as folder:
            try:
                if log is None:
                    raise NotJudged("there is no log: drop one first")
                headline = workers.judge(log, healthy, Path(folder))
            except NotJudged as error:
                yield [gr.HTML(said("alert", f"Not judged: {error}."), visible=True), *hidden, None, None]
                return
            page = (Path(folder) / "report.html").read_text(encoding="utf-8")
            if len(page) <= PAGE_CHARACTERS:
                shown = framed(page)
            else:
                shown = said("status", f"{headline}. The page is too long to be shown here: save it.")
            saved = [gr.DownloadButton(value=os.path.join(folder, name), visible=True) for name in REPORTS]
            yield [gr.HTML(shown, visible=True), *saved, None, None]

    with gr.Blocks(title="LogMoE", analytics_enabled=False) as blocks:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            log = gr.File(label="Log", height=170, min_width=300, elem_id="log")
            healthy = gr.File(label="Healthy log (optional)", height=170, min_width=300, elem_id="healthy")
        with gr.Row():
            start = gr.Button("Judge", variant="primary", elem_id="judge")
            example = gr.Button("Try an example", elem_id="example")
        gr.Markdown(LIMITS)
        with gr.Row():
            saves = [gr.DownloadButton(f"Save {name}", visible=False, size="sm", min_width=120) for name in REPORTS]
        page = gr.HTML(visible=False, elem_id="page")
        for button, judged, given in ((start, judge, [log, healthy]), (example, judge_example, [])):
            button.click(
                judged,
                given,
                [page, *saves, log, healthy],
                show_progress_on=[log],
                api_visibility="private",
                concurrency_id="judge",
                concurrency_limit=WORKERS,
            )
    return blocks.queue(max_size=QUEUE, api_open=False)


def said(role: str, text: str) -> str:
    return f'<p role="{role}" style="font-size: 1.1em">{html.escape(text)}</p>'


def sweep(folder: Path, age: float) -> None:
    """Deletes old files: of visitors who have gone, and of uploads that broke off."""
    for path in folder.rglob("*"):
        try:
            if path.is_file() and time.time() - path.stat().st_mtime > age:
                path.unlink()
        except FileNotFoundError:
            pass  # judged in the meantime


def sweep_on() -> None:
    while True:
        sweep(Path(TEMPORARY.name), KEPT)
        time.sleep(KEPT / 10)


def launch(workers: Workers, **options: Any) -> gr.Blocks:
    """Starts the page; options as of `gr.Blocks.launch`."""
    blocks = interface(workers)
    threading.Thread(target=sweep_on, daemon=True).start()
    blocks.launch(
        max_file_size=MEGABYTES << 20,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        **options,
    )
    return blocks


if __name__ == "__main__":
    launch(Workers())
