"""A small Gradio app: greets in a dozen languages, and paints a picture from a word."""

import argparse
import hashlib

import gradio as gr
import numpy as np

GREETINGS = {
    "Deutsch": "Hallo", "English": "Hello", "Español": "Hola", "Français": "Bonjour", "Italiano": "Ciao", "Kiswahili": "Habari",
    "Polski": "Cześć", "Português": "Olá", "Türkçe": "Merhaba", "Ελληνικά": "Γειά σου", "日本語": "こんにちは", "한국어": "안녕하세요",
}
SIZE = 512


def greet(name: str, language: str) -> str:
    """Greet somebody in a language."""
    return f"{GREETINGS[language]}, {name.strip() or 'world'}!"


def paint(word: str) -> np.ndarray:
    """Paint waves whose colours and directions follow from a word: the same word always gives the same picture."""
    seed = int.from_bytes(hashlib.sha256(word.strip().lower().encode()).digest()[:8], "big")
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[0:1:SIZE * 1j, 0:1:SIZE * 1j]
    field = np.zeros((SIZE, SIZE))
    for _ in range(6):
        angle, frequency, phase = chance.uniform(0, 2 * np.pi), chance.uniform(1, 9), chance.uniform(0, 2 * np.pi)
        field += np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    mix = (np.tanh(field / 2) + 1)[..., None] / 2
    low, high = chance.uniform(0, 0.5, 3), chance.uniform(0.5, 1, 3)
    return ((low + (high - low) * mix) * 255).astype(np.uint8)


def build() -> gr.Blocks:
    """Lay the page out."""
    with gr.Blocks(title="Gradio Hello", analytics_enabled=False) as page:
        gr.Markdown("# Gradio Hello\nIf you can read this, the launcher did its work: installed, started, and reachable.")
        with gr.Tab("Greet"):
            with gr.Row():
                name = gr.Textbox(label="Name", placeholder="world", autofocus=True)
                language = gr.Dropdown(list(GREETINGS), value="English", label="Language")
            greeting = gr.Textbox(label="Greeting", interactive=False)
            gr.Button("Greet", variant="primary").click(greet, [name, language], greeting, api_name="greet")
            name.submit(greet, [name, language], greeting, api_name=False)
        with gr.Tab("Paint"):
            word = gr.Textbox(label="Word", value="pinoctl")
            picture = gr.Image(label="Picture", height=SIZE)
            gr.Button("Paint", variant="primary").click(paint, word, picture, api_name="paint")
            word.submit(paint, word, picture, api_name=False)
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=7860)
    build().launch(server_name="127.0.0.1", server_port=parser.parse_args().port, share=False, inbrowser=False)
