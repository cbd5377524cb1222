"""A notebook in the browser: plain notes in one JSON file."""

import argparse
import json
import os
from datetime import datetime
from pathlib import Path

from flask import Flask, redirect, render_template_string, request

HERE = Path(__file__).parent
NOTES = HERE / "data" / "notes.json"
SETTINGS = {"title": "My notes", "colour": "indigo"}
if (HERE / "settings.json").exists():
    SETTINGS |= json.loads((HERE / "settings.json").read_text("utf-8"))

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ settings.title }}</title>
<style>
  :root { color-scheme: light dark; accent-color: {{ settings.colour }}; }
  body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { border-bottom: .2rem solid {{ settings.colour }}; }
  textarea { width: 100%; box-sizing: border-box; font: inherit; }
  li { margin: .5rem 0; white-space: pre-wrap; }
  time { opacity: .6; font-size: .8em; }
</style>
<h1>{{ settings.title }}</h1>
<form method="post" action="/notes">
  <label>New note <textarea name="text" rows="3" required autofocus></textarea></label>
  <button>Keep</button>
</form>
<ul>{% for note in notes|reverse %}<li><time>{{ note.at }}</time> {{ note.text }}</li>{% else %}<li>No notes yet.</li>{% endfor %}</ul>
</html>
"""

app = Flask(__name__)


def read() -> list[dict[str, str]]:
    """Return all notes, oldest first."""
    return json.loads(NOTES.read_text("utf-8")) if NOTES.exists() else []


def keep(text: str) -> None:
    """Add a note; the file is replaced in one go, so that a crash cannot leave half of it."""
    notes = [*read(), {"at": datetime.now().astimezone().isoformat(" ", "minutes"), "text": text}]
    NOTES.parent.mkdir(exist_ok=True)
    fresh = NOTES.with_suffix(".new")
    fresh.write_text(json.dumps(notes, ensure_ascii=False, indent=2), "utf-8")
    os.replace(fresh, NOTES)


@app.get("/")
def index() -> str:
    """Show the form and the notes."""
    return render_template_string(PAGE, settings=SETTINGS, notes=read())


@app.post("/notes")
def add():
    """Keep a note and show the page again."""
    text = request.form.get("text", "").strip()
    if text:
        keep(text)
    return redirect("/", code=303)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000)
    app.run(host="127.0.0.1", port=parser.parse_args().port, threaded=False)
