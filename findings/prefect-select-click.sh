#!/usr/bin/env bash
# Prefect 3.9.1, its first UI: a list to choose from closes in the same click that opens it.
#
# Source: the UI's PBaseInput binds the listeners it is given to its root element and to the control inside it, and
# PSelect's listener for clicks toggles. A click on the field's text reaches both: open, closed. A click on the arrow
# beside the control reaches the root alone, and keys only ever open. Every list of the UI is such a field: sorting,
# page sizes, and the parameters of a deployment that have an enum.
#
# Needs: python3, a chromium on the PATH, a package index. Uses nothing of Halter. Seen (Chromium, headless):
#
#   click on the field: opened 1 time, options left 0
#   click on its arrow: options left 4
#   key down:           options left 4
#
# Ends with 1 where that has changed.
set -euo pipefail
folder=$(mktemp -d); port=${PORT:-4711}
trap 'kill "${server:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'prefect==3.9.1' 'playwright==1.65.2'
export PREFECT_HOME="$folder/home" DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
export PREFECT_SERVER_API_HOST=127.0.0.1 PREFECT_SERVER_API_PORT=$port PREFECT_API_URL="http://127.0.0.1:$port/api"
"$folder/venv/bin/prefect" server start >"$folder/log" 2>&1 & server=$!
CHROMIUM=$(command -v chromium || command -v chromium-browser || command -v google-chrome) \
"$folder/venv/bin/python" - "http://127.0.0.1:$port" <<'PYTHON'
import json, os, sys, time, urllib.error, urllib.request
from playwright.sync_api import sync_playwright

url = sys.argv[1]
for _ in range(600):
    try:
        urllib.request.urlopen(f"{url}/api/health")
        break
    except (urllib.error.URLError, OSError):
        time.sleep(0.5)
request = urllib.request.Request(f"{url}/api/flows/", json.dumps({"name": "one"}).encode(), {"Content-Type": "application/json"})
urllib.request.urlopen(request)  # with a flow there is a list of flows, and a field to sort it by
WATCH = """() => { window.opened = 0; new MutationObserver(all => all.forEach(one => one.addedNodes.forEach(node => {
    if (node.className && String(node.className).includes('p-pop-over-content')) window.opened++ }))).observe(document.body, {childList: true, subtree: true}) }"""
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"], args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.set_default_timeout(120_000)

    def left(act) -> tuple[int, int]:
        page.goto(f"{url}/flows")
        page.locator(".p-select-button__control").last.wait_for()
        page.wait_for_timeout(1500)
        page.evaluate(WATCH)
        act()
        page.wait_for_timeout(1500)
        return page.evaluate("window.opened"), page.locator(".p-select-option").count()

    def press() -> None:
        page.locator(".p-select-button__control").last.focus()
        page.keyboard.press("ArrowDown")

    field = left(lambda: page.locator(".p-select-button__control").last.click())
    arrow = left(lambda: page.locator(".p-select-button__icon").last.click())
    key = left(press)
    print(f"click on the field: opened {field[0]} time, options left {field[1]}")
    print(f"click on its arrow: options left {arrow[1]}")
    print(f"key down:           options left {key[1]}")
    browser.close()
sys.exit(0 if field[0] == 1 and field[1] == 0 and arrow[1] > 0 and key[1] > 0 else 1)
PYTHON
