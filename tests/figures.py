"""Read what GET /metrics tells."""


def figures(page: str) -> dict[str, float]:
    """Every sample, by its name and labels as they are written."""
    lines = (line for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
