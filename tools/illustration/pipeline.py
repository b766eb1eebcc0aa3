"""Draw the way of a picture through the network as SVG."""

_BOXES = (
    # left, top, width, height, lines, colour
    (20, 70, 110, 60, ("small picture", "h × w"), "#dbe7f5"),
    (170, 70, 110, 60, ("encoder", "once"), "#f3e3cf"),
    (320, 70, 110, 60, ("features", "h × w"), "#dbe7f5"),
    (320, 180, 110, 60, ("mapper", "once"), "#f3e3cf"),
    (480, 180, 120, 60, ("expert of each", "small pixel"), "#dbe7f5"),
    (480, 70, 120, 60, ("fold: first layer", "per small pixel"), "#f3e3cf"),
    (650, 20, 120, 36, ("2 layers",), "#f7d774"),
    (650, 68, 120, 36, ("3 layers",), "#f0a95a"),
    (650, 116, 120, 36, ("4 layers",), "#e2764b"),
    (650, 164, 120, 36, ("5 layers",), "#cf4a3c"),
    (820, 70, 120, 60, ("blend of four", "neighbours"), "#f3e3cf"),
    (990, 70, 110, 60, ("picture of any", "size H × W"), "#dbe7f5"),
)
_ARROWS = (
    ((130, 100), (170, 100)),
    ((280, 100), (320, 100)),
    ((375, 130), (375, 180)),
    ((430, 210), (480, 210)),
    ((430, 100), (480, 100)),
    ((540, 180), (540, 130)),
    ((600, 100), (650, 38)),
    ((600, 100), (650, 86)),
    ((600, 100), (650, 134)),
    ((600, 100), (650, 182)),
    ((770, 38), (820, 100)),
    ((770, 86), (820, 100)),
    ((770, 134), (820, 100)),
    ((770, 182), (820, 100)),
    ((940, 100), (990, 100)),
)
_WIDTH, _HEIGHT = 1120, 260


def drawing() -> bytes:
    """Return the SVG, on a white card, so that it is readable on dark pages too."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="15" fill="#222">',
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,1 L7,4 L0,7" fill="none" stroke="#555"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="10" fill="#fff"/>',
    ]
    for (x1, y1), (x2, y2) in _ARROWS:
        parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#555" stroke-width="1.5" '
            'marker-end="url(#tip)"/>'
        )
    for left, top, width, height, lines, colour in _BOXES:
        parts.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6" fill="{colour}" '
            'stroke="#888"/>'
        )
        for number, line in enumerate(lines):
            y = top + height / 2 + 5 + 18 * (number - (len(lines) - 1) / 2)
            parts.append(f'<text x="{left + width / 2}" y="{y:g}" text-anchor="middle">{line}</text>')
    return ("\n".join([*parts, "</svg>"]) + "\n").encode()
