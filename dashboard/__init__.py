"""The web pages, the JSON API and the metrics live here."""

if __name__ != "ferryman.dashboard":
    raise ImportError("import it as ferryman.dashboard")
