#!/bin/sh
# Fetches the scripts of others that the tests use, of the versions in README.md: sh tests/vendor/renew.sh
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
npm install --silent --ignore-scripts --prefix "$work" axe-core@4.14.1
cp "$work"/node_modules/axe-core/axe.min.js .
cp "$work"/node_modules/axe-core/LICENSE axe.LICENSE.txt
cp "$work"/node_modules/axe-core/LICENSE-3RD-PARTY.txt axe.3RD-PARTY.txt
sha256sum *.js > SHA256SUMS
