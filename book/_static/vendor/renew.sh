#!/bin/sh
# Makes the scripts of others again, of the versions in README.md: sh book/_static/vendor/renew.sh
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --silent --ignore-scripts --prefix "$work" @jupyter-widgets/html-manager@1.0.15 \
  onnxruntime-web@1.30.0 @huggingface/tokenizers@0.2.0 esbuild@0.28.2
packages=$work/node_modules
cp "$packages"/@jupyter-widgets/html-manager/dist/embed.js .
for font in *.woff2; do cp "$packages/@jupyter-widgets/html-manager/dist/$font" .; done

# One classic script each, since a browser loads no module from a folder.
bundle() {
  printf '%s\n' "$2" > "$work/$1.js"
  (cd "$work" && "$packages/.bin/esbuild" "$1.js" --bundle --minify --format=iife --global-name="$1" \
    --platform=browser --define:import.meta.url='"https://white.bear/"' --log-level=warning \
    --outfile="out/$1.js")
  cp "$work/out/$1.js" .
}
bundle ort 'export * from "onnxruntime-web/wasm";'
bundle tokenizers 'export { Tokenizer } from "@huggingface/tokenizers";'
gzip -9 -n -c "$packages/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm" \
  > ort-wasm-simd-threaded.wasm.gz
cp "$packages/@huggingface/tokenizers/LICENSE" tokenizers.LICENSE.txt
sha256sum *.js *.woff2 *.gz > SHA256SUMS
