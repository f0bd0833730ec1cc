"""Pages of the built site, opened and watched."""

from playwright.sync_api import Browser, ConsoleMessage, Page

PATIENCE = 120_000  # ms; a page takes one second, but CI machines can be busy
AJV = "strict mode: use allowUnionTypes"  # the widget script's checker on its own schema; harmless


def watched(browser: Browser, **context) -> tuple[Page, list[str], list[str]]:
    """A fresh page, everything that goes wrong on it, and every address that it asks for."""
    page, wrong, asked = browser.new_context(**context).new_page(), [], []
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda m: wrong.append(m.text) if complains(m) else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda r: wrong.append(f"failed: {r.url}"))
    page.on("response", lambda r: wrong.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    return page, wrong, asked


def complains(message: ConsoleMessage) -> bool:
    return message.type in ("error", "warning") and not message.text.startswith(AJV)
