"""The page's colours and fonts: night blue, lamp gold and paper; only fonts the visitor's machine has."""

import gradio as gr

_NIGHT = gr.themes.Color(
    c50="#f2f3fa",
    c100="#e3e5f4",
    c200="#c9cdea",
    c300="#a5acdb",
    c400="#7f88c8",
    c500="#5f69b3",
    c600="#4a5399",
    c700="#3c437d",
    c800="#2c3160",
    c900="#1d2145",
    c950="#121530",
    name="night",
)
_INK = gr.themes.Color(
    c50="#f8f7f4",
    c100="#efedf0",
    c200="#dfdce3",
    c300="#c3bfcb",
    c400="#98939f",
    c500="#736e7d",
    c600="#575262",
    c700="#3f3b4a",
    c800="#262431",
    c900="#1a1922",
    c950="#121118",
    name="ink",
)
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")


def make_theme() -> gr.themes.Base:
    """Return the theme, light and dark; the visitor's system chooses."""
    theme = gr.themes.Base(
        primary_hue=_NIGHT,
        secondary_hue=_NIGHT,
        neutral_hue=_INK,
        font=_SANS,
        font_mono=_MONO,
        radius_size=gr.themes.sizes.radius_lg,
    )
    return theme.set(
        body_background_fill="#f6f3ee",
        body_background_fill_dark="#12131f",
        body_text_color="#25232e",
        body_text_color_dark="#ece9f2",
        background_fill_primary="#fffdf9",
        background_fill_primary_dark="#1b1d2e",
        background_fill_secondary="#efeae2",
        background_fill_secondary_dark="#171828",
        border_color_primary="#e2dbd0",
        border_color_primary_dark="#2e3148",
        block_border_width="0px",
        block_shadow="none",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        button_primary_background_fill="#3c437d",
        button_primary_background_fill_hover="#4a5399",
        button_primary_background_fill_dark="#e8b860",
        button_primary_background_fill_hover_dark="#f2cc84",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#1a1508",
        button_secondary_background_fill="transparent",
        button_secondary_background_fill_dark="transparent",
        input_background_fill="#fffdf9",
        input_background_fill_dark="#1b1d2e",
    )
