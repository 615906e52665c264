"""What the guide and the README show works: their Python runs and the options they name exist."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from logmoe.train import make_parser
from logmoe_command import command

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "usage.zh.md"
README = ROOT / "README.md"

# The sections of the original guide, in order.
SECTIONS = [
    "# LogMoE 使用指南",
    "## 概述",
    "## 模型架构",
    "## 文件结构",
    "## 快速开始",
    "### 1. 环境要求",
    "### 2. 基本使用",
    "#### 方法一：使用推理脚本",
    "#### 方法二：代码调用",
    "## 输入格式",
    "### 日志序列格式",
    "### 参数说明",
    "## 输出格式",
    "### 预测结果",
    "## 高级用法",
    "### 1. 批量推理",
    "### 2. 自定义预处理",
    "### 3. 模型配置",
    "## 性能优化",
    "### 1. GPU 加速",
    "### 2. 批处理推理",
    "## 模型性能",
    "### 训练结果",
    "### 推理性能",
    "## 异常处理",
    "### 常见问题",
    "## 模型更新",
    "### 重新训练",
    "### 模型保存",
    "## 技术支持",
    "### 日志格式建议",
    "### 性能调优",
    "## 示例代码",
    "### 完整示例",
]

BLOCK = re.compile(r"^([ \t]*)```(\w*)[^\n]*\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)
FLAG = re.compile(r"--[A-Za-z][\w-]*")


def blocks(path: Path, language: str) -> list[tuple[int, str]]:
    """The fenced code blocks in a language: the number of lines above each, and its code."""
    text = path.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start(3)), textwrap.dedent(match[3]))
        for match in BLOCK.finditer(text)
        if match[2] == language
    ]


def program(path: Path) -> str:
    """All Python of a document as one program, each statement on its line, so that tracebacks point there."""
    lines: list[str] = []
    for above, code in blocks(path, "python"):
        lines += [""] * (above - len(lines)) + code.splitlines()
    return "\n".join(lines) + "\n"


def headings(path: Path) -> list[str]:
    return re.findall(r"^#+ .*$", BLOCK.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)


INFERENCE_FLAGS = {flag for of in command.commands.values() for option in of.params for flag in option.opts}
TRAIN_FLAGS = set(make_parser()._option_string_actions)
FLAGS_OF = {
    "inference.py": INFERENCE_FLAGS,
    "logmoe": INFERENCE_FLAGS,
    "train.py": TRAIN_FLAGS,
    "logmoe-train": TRAIN_FLAGS,
}
# Their options are their own.
OTHER_PROGRAMS = {"pip", "hf"}


def commands(path: Path) -> list[list[str]]:
    """The shell commands of a document, each as a list of words."""
    found = []
    for _, code in blocks(path, "bash"):
        for line in code.replace("\\\n", " ").splitlines():
            found += [shlex.split(part, comments=True) for part in re.split(r"\|+|&&|;", line)]
    return [words for words in found if words]


@pytest.mark.parametrize("path", [GUIDE, README], ids=lambda path: path.name)
def test_python_blocks_run(path, tmp_path):
    source = program(path) if path.exists() else ""
    if not source.strip():
        assert path != GUIDE
        pytest.skip(f"{path.name} shows no Python")
    # The guide's blocks are self-contained; the README's may use the files beside it.
    finished = subprocess.run(
        [sys.executable, "-c", "import sys; exec(compile(sys.stdin.read(), sys.argv[1], 'exec'))", str(path)],
        input=source,
        cwd=tmp_path if path == GUIDE else ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert finished.returncode == 0, finished.stderr[-4000:]


def test_guide_has_every_section_of_the_original():
    assert [heading for heading in headings(GUIDE) if heading in SECTIONS] == SECTIONS


def test_page_of_formats_is_what_the_rules_say():
    """After a change of the rules: `python docs/formats.py`."""
    spec = importlib.util.spec_from_file_location("formats", ROOT / "docs" / "formats.py")
    formats = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(formats)
    page = formats.page()
    assert page == formats.PAGE.read_text(encoding="utf-8")
    for examples, rules in (
        (formats.TRANSPORT_EXAMPLES, formats.TRANSPORTS),
        (formats.TIME_EXAMPLES, formats.TIME_RULES),
        (formats.SEVERITY_EXAMPLES, formats.SEVERITY_RULES),
        (formats.BLOCK_EXAMPLES, formats.BLOCKS),
    ):
        assert set(examples) == {rule["name"] for rule in rules}


def test_links_lead_somewhere():
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-") for heading in headings(GUIDE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", GUIDE.read_text(encoding="utf-8"))):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (GUIDE.parent / target.split("#")[0]).exists(), target


def test_flags_in_bash_blocks_exist():
    seen = set()
    for words in commands(GUIDE):
        flags = {word.split("=")[0] for word in words if word.startswith("--")}
        programs = [Path(word).name for word in words if Path(word).name in FLAGS_OF]
        if flags and words[0] not in OTHER_PROGRAMS:
            assert programs, f"whose options are these? {shlex.join(words)}"
            assert flags <= FLAGS_OF[programs[0]], shlex.join(words)
        seen |= set(programs)
    assert {"inference.py", "train.py"} <= seen  # the blocks were found


def test_flags_in_the_text_exist():
    text = BLOCK.sub("", GUIDE.read_text(encoding="utf-8"))
    named = {flag for code in re.findall(r"`([^`\n]+)`", text) for flag in FLAG.findall(code)}
    assert named <= INFERENCE_FLAGS | TRAIN_FLAGS


def test_guide_names_every_option_of_the_command_line():
    shown = [option for option in command.commands["scan"].params if not getattr(option, "hidden", False)]
    long_flags = {flag for option in shown for flag in option.opts if flag.startswith("--")}
    assert {flag for flag in long_flags if f"`{flag}`" not in GUIDE.read_text(encoding="utf-8")} == set()


@pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="needs the Makefile of a clone")
def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {words[1] for words in commands(GUIDE) if words[0] == "make"}
    assert named == {target for target in named if re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)}
