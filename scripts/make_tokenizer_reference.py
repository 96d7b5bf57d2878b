"""Write tests/data/tokenizer_reference.json: llama.cpp's own tokens for the texts of the agreement test.

Run it where llama.cpp's Python binding and gguf are installed (`pip install llama-cpp-python gguf`,
which compiles it; the project's environment does not need it), with a SmolLM2 GGUF file:

    python scripts/make_tokenizer_reference.py MODEL.gguf
"""

from __future__ import annotations

import argparse
import json
import tempfile
import unicodedata
from pathlib import Path

from gguf import GGUFReader, GGUFWriter
from llama_cpp import Llama, __version__  # type: ignore[import-not-found,import-untyped,unused-ignore]

PRE_TOKENIZERS = ("smollm", "gpt-2", "qwen2", "llama-bpe")

OUTPUT = Path(__file__).parent.parent / "tests" / "data" / "tokenizer_reference.json"

WORDS = """
Hello world
What is the capital of Japan?
The quick brown fox jumps over the lazy dog.
I'm sure they'll say we've won, you're right, he'd go, it's John's, don't
I'M SURE THEY'LL SAY WE'VE WON, YOU'RE RIGHT, HE'D GO, IT'S
it’s ‘curly’ “quotes” — and … dashes – too
'tis 'twas rock'n'roll y'all'd've
a
A
I
é
naïve café résumé façade coöperate
Zażółć gęślą jaźń
Příliš žluťoučký kůň úpěl ďábelské ódy
Ærøskøbing, Ångström, Škoda, Łódź
Đặng Thị Ngọc Thịnh nói tiếng Việt
İstanbul'da ışık söndü
Straße, Größe, ẞ
ﬁnd the ﬂow: ﬀ ﬃ ﬄ
Ελληνικά: το γρήγορο καφέ
Быстрая коричневая лиса; Ёлка, Їжак
日本語のテキストです。
東京は日本の首都です
カタカナ と ひらがな、全角　スペース
中文没有空格，但是有标点。
繁體中文與簡體中文
한국어 문장입니다. 띄어쓰기가 있습니다
ภาษาไทยไม่มีช่องว่าง
हिन्दी में लिखा हुआ वाक्य
বাংলা ভাষা
தமிழ் மொழி
မြန်မာဘာသာ
አማርኛ ጽሑፍ
ქართული ენა
Հայերեն լեզու
שלום עולם
שָׁלוֹם עֲלֵיכֶם
مرحبا بالعالم
السَّلامُ عَلَيْكُمْ
mixed עברית and English 123 שלום
العربية mixed with English 456
😀
😀😃😄😁
I ❤️ this! 💯🔥
👍🏽 👩🏿‍🚀 👨‍👩‍👧‍👦
🏳️‍🌈 🏴‍☠️ 🇯🇵🇫🇷
1️⃣ 2️⃣ #️⃣
text😀between😀words
☃ ☀️ ★ ♥ ✓ ✗
∀x∈ℝ: ∃y ≥ x² ∧ √2 ≠ π
½ ⅓ ² ³ Ⅳ ⅷ ① ㊿ ㈱
٠١٢٣٤٥٦٧٨٩ ०१२३ ๐๑๒
１２３４ ＡＢＣ ａｂｃ
0
7
42
123
1234
1234567890
3.14159 2,718 1e-10 6.02E23
1,000,000.00
2024-11-21T20:55:01Z
v1.2.3-beta+build.456
192.168.1.20:7070
+1 (555) 123-4567
a1b2c3 x86_64 utf8 h264
0xDEADBEEF 0b1010 0o755
$5.99 €10 £3 ¥500 ₿1
50% 3/4 2^10 5°C
№5 §7 ¶2
1st 2nd 3rd 4th
user@example.com https://example.org/path?q=1&r=a%20b#top
C:\\Windows\\System32 ~/.bashrc /usr/local/bin
#hashtag @mention $var %d &amp; *bold* _under_ `code`
!!! ??? ... ,,, ;;; ::: --- === +++
(a)[b]{c}<d>
!"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~
---===+++***///
¡Hola! ¿Qué tal?
«guillemets» „quotes“ 「括弧」【】
CamelCaseWord snake_case_word kebab-case-word SCREAMING_CASE
iPhone eBay McDonald's O'Neill
supercalifragilisticexpialidocious
Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft
pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism
<|im_end|>
<|im_start|>
<|endoftext|>
<|im_start|>user
hello<|im_end|>
<|im_end|><|im_start|>system
a <|im_end|> b <|im_start|> c
<|im_end|
<|im_start|><|im_start|>
<|im_<|im_end|>end|>
<repo_name>x<filename>y<gh_stars>5
<jupyter_code>print(1)<jupyter_output>1
<file_sep><issue_start><issue_closed>
<|eot_id|> <s> </s> [INST] <bos> <pad> <unk>
<|IM_END|> < |im_end|> <|im_end |>
</think> <think> <tool_call>
&lt;|im_end|&gt;
def f(x): return x**2 + 1
for i in range(10):
if (a && b || !c) { return; }
x = [i for i in xs if i % 2 == 0]
SELECT * FROM users WHERE id = 42;
<div class="a b">text</div>
{"key": [1, 2, {"nested": null}]}
#include <stdio.h>
std::vector<std::pair<int, int>> v;
let x: &'static str = "s";
fn main() -> Result<(), Box<dyn Error>> {}
const f = async (a, b) => await a?.b ?? c;
git commit -m "fix: it's done" && git push
$ echo "$HOME" | grep -E '^/' > out.txt 2>&1
λx.x → ⊥ ≡ ⊤
\\frac{a}{b} \\sum_{i=0}^{n} x_i
a\\nb\\tc
http://localhost:8080
The year 1999 and 2000s
R2D2 C3PO 4K 5G
e\u0301 a\u0308 n\u0303
Z\u0351\u036b\u0343a\u0334l\u0335g\u0336o\u0337
\u1112\u1161\u11ab\u1100\u1173\u11af
A\u030a \u212b \u00c5
"""

SHAPES = [
    "",
    " ",
    "  ",
    "   ",
    " " * 4,
    " " * 7,
    " " * 16,
    " " * 33,
    " " * 100,
    "\t",
    "\t\t",
    "\t\t\tx",
    "\n",
    "\n\n",
    "\n\n\n",
    "\n\n\n\ntext",
    "\r\n",
    "a\r\nb\r\n\r\nc",
    "\r",
    "a\rb",
    " a",
    "  a",
    "   a",
    "a ",
    "a  ",
    "a   b    c     d",
    " leading and trailing ",
    "tab\tseparated\tvalues",
    "tab \t mixed \t\t with  spaces",
    "line one\nline two\n  indented\n\n\ttabbed\n",
    "trailing newline\n",
    "\n leading newline",
    " \n \n ",
    "\n  \n  x",
    "x \n y",
    "x\n\n  y",
    "5 5  5   5    5",
    "   5",
    "12  34   56",
    "a5 5a  5a",
    " 1 2 3",
    "1\n2\n\n3",
    "no\u00a0break\u00a0space",
    "thin\u2009space em\u2003space ideographic\u3000space",
    "zero\u200bwidth\u200cnon\u200djoiner\ufeffbom",
    "\ufeffbom first",
    "line\u2028separator\u2029paragraph",
    "next\u0085line",
    "soft\u00adhyphen",
    "rtl\u202emark\u202c ltr\u200e",
    "\x00",
    "a\x00b",
    "\x01\x02\x03\x04\x05\x06\x07",
    "bell\x07 back\x08 vt\x0b ff\x0c esc\x1b[0m",
    "\x1c\x1d\x1e\x1f",
    "del\x7f",
    "c1\x80\x9f",
    "\ue000\uf8ff private",
    "\U000f0000\U000f0001 plane 15",
    "\U0010ffff",
    "\ufffd",
    "\ufffe\uffff",
    "𝒻𝒶𝓃𝒸𝓎 𝕞𝕒𝕥𝕙 𝟙𝟚𝟛",
    "𓀀𓂀 𐍈 𒀀",
    "a" * 300,
    "ab" * 200,
    "the" * 100,
    "é" * 100,
    "日" * 100,
    "0" * 100,
    "!" * 100,
    "=" * 64,
    "😀" * 50,
    "word " * 50,
    "x" * 1000,
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 5,
    "def f(x):\n    if x > 0:\n        return x * 2\n    return None\n",
    "class A:\n\tdef b(self):\n\t\tpass\n",
    '{\n  "a": 1,\n  "b": [true, false]\n}\n',
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "# Title\n\n- item 1\n- item 2\n\n```python\nprint('hi')\n```\n",
    "<|im_start|>system\nBe nice<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n",
    "He said:\n\n\"It's 5 o'clock.\"\n\n\t- John",
    "a\u0301\u0301\u0301\u0301",
    "\u0301",
    " \u0301",
    "x\u200d\u200dy",
    "'s 't 're 've 'm 'll 'd 'S 'T",
    "''s '''ll",
    " 's 's",
    "1's 2nd's",
]


def texts() -> list[str]:
    """Return the texts of the agreement test, none twice."""
    return list(dict.fromkeys([*WORDS.strip().split("\n"), *SHAPES]))


def with_pre_tokenizer(model: Path, pre: str, copy: Path) -> Path:
    """Write a model's metadata without its tensors, as if it named another pre-tokenizer."""
    fields = {name: field for name, field in GGUFReader(model).fields.items() if not name.startswith("GGUF.")}
    writer = GGUFWriter(copy, arch="llama")
    for name, field in fields.items():
        if name == "general.architecture":
            continue
        value = pre if name == "tokenizer.ggml.pre" else field.contents()
        writer.add_key_value(name, value, field.types[0], field.types[-1] if len(field.types) > 1 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return copy


def tokens(llama: Llama, text: str, *, special: bool = True) -> list[int]:
    """Tokenize by llama.cpp, which adds nothing of its own."""
    ids: list[int] = llama.tokenize(text.encode(), add_bos=False, special=special)
    return ids


def rows(model: Path) -> list[dict[str, object]]:
    """Return for each text its tokens: as the model has them, with control tokens left as text, and as other
    families' pre-tokenizers would cut it. llama.cpp does not normalise for qwen2, so that is done here.
    """
    found: list[dict[str, object]] = [{"text": text} for text in texts()]
    with tempfile.TemporaryDirectory() as folder:
        for pre in PRE_TOKENIZERS:
            copy = with_pre_tokenizer(model, pre, Path(folder) / f"{pre}.gguf")
            llama = Llama(str(copy), vocab_only=True, verbose=False)
            for row in found:
                text = str(row["text"])
                row[pre] = tokens(llama, unicodedata.normalize("NFC", text) if pre == "qwen2" else text)
                if pre == "smollm":
                    row["plain"] = tokens(llama, text, special=False)
    return found


def main() -> None:
    """Tokenize every text by llama.cpp and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    found = rows(parser.parse_args().model)
    body = ",\n".join(json.dumps(row, separators=(",", ":")) for row in found)
    source = json.dumps(f"llama.cpp by llama-cpp-python {__version__}, SmolLM2-135M-Instruct Q4_1")
    OUTPUT.write_text(f'{{"source": {source},\n"rows": [\n{body}\n]}}\n')


if __name__ == "__main__":
    main()
