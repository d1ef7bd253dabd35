"""Forms in which words travel: a PDF, characters that nobody sees, a text in pieces."""

from cabinos.render.answer import Origin, Rendering

__all__ = ["in_selectors", "in_tags", "pdf", "streamed"]

LINE = 80  # characters of a line of the page


def pdf(text: str) -> bytes:
    """A PDF of one page with the text, which has letters, digits and full stops only."""
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    shown = " ".join(f"({line}) Tj 0 -12 Td" for line in lines)
    stream = f"BT /F1 8 Tf 20 780 Td {shown} ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources 6 0 R >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        "<< /Font << /F1 5 0 R >> >>",
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    trailer = f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + f"xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


def in_tags(text: str) -> str:
    """ASCII in Unicode's tag characters."""
    return "".join(chr(0xE0000 + ord(character)) for character in text)


def in_selectors(text: str) -> str:
    """A text's bytes as variation selectors, of which there are 256."""
    return "".join(chr(0xFE00 + b if b < 16 else 0xE0100 + b - 16) for b in text.encode())


def streamed(text: str, origin: Origin) -> str:
    """A text as a client gets it that comes a character at a time."""
    rendering = Rendering(origin)
    pieces = [piece for character in text for piece in rendering.push(character)]
    return "".join(piece.shown for piece in [*pieces, *rendering.close()])
