#!/bin/sh
# The main job on a real disk: raw to VHDX, a look into it, back to raw, and a comparison.
set -eu
work=demo-work
rm -rf "$work" && mkdir "$work"

show() {
    echo "\$ $*"
    "$@"
    echo
}

python demo/make_disk.py "$work/disk.raw"
show vhdx convert "$work/disk.raw" "$work/disk.vhdx"
show vhdx info "$work/disk.vhdx"
show vhdx convert "$work/disk.vhdx" "$work/back.raw"
show cmp "$work/disk.raw" "$work/back.raw"
echo "Every byte came back. The files are in $work."
