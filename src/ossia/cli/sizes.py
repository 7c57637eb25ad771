"""Numbers as people read them."""


def as_bytes(count: int) -> str:
    """Bytes in the unit that gives 1 to 999: 13.8 GB."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"


def as_count(count: int) -> str:
    """A large number by thousand, million or billion: 20.9 billion."""
    for size, name in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return str(count)


def as_table(rows: dict[str, str]) -> str:
    """One line for each, the values below each other."""
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())
