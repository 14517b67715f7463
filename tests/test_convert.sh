#!/bin/sh
# test_convert.sh - dfx convert: usage, whole results, and a model of one file in other commands.
srcdir=${srcdir:-.}
. "$srcdir/tests/tap.sh"
dfx=${DFX:-./dfx}
case $dfx in
    /*) ;;
    *) dfx=$PWD/$dfx ;;
esac
top=$(cd "$srcdir" && pwd)
tiny=$top/tests/data/tiny
single=$top/tests/data/single
DFX_DATADIR=$top/share
DFX_DEVICE=cpu
export DFX_DATADIR DFX_DEVICE
unset DFX_DTYPE
work=$(mktemp -d "$PWD/test_convert.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

absent()
{
    test ! -e "$1"
}

# the pictures of two models are the same bytes, without what they say of themselves
draw_same()
{
    for model in "$1" "$2"; do
        "$dfx" generate cat --model "$model" --steps 2 --seed 5 --quiet --width 64 --height 64 \
            --trace "$(basename "$model").trace" --output "$(basename "$model").png" || return 1
    done
    cmp "$(basename "$1").trace" "$(basename "$2").trace"
}

ok "help" prints '^example:' convert --help
ok "no target" fails 2 "--to is missing" convert "$tiny"
ok "no model" fails 2 "MODEL is missing" convert --to out
ok "a type that is none" fails 2 "--dtype: \"q4\"" convert "$tiny" --to out --dtype q4
ok "a model that is not there" fails 1 "nothing: " convert nothing --to out
ok "and nothing is written" absent out

ok "a folder to one file" "$dfx" convert "$tiny" --to tiny.safetensors
ok "one file to a folder" "$dfx" convert tiny.safetensors --to folder
ok "a folder again to one file" "$dfx" convert folder --to again.safetensors
ok "which is the same" cmp tiny.safetensors again.safetensors
ok "a folder that is there" fails 1 "folder: is there already" convert "$tiny" --to folder
ok "an empty one is taken" sh -c "mkdir empty && '$dfx' convert '$tiny' --to empty/ --dtype f16"
ok "inspect one file" prints 'UNet2DConditionModel.* [0-9]* parameters' inspect tiny.safetensors
ok "a part of it, by a path that looks like ORG/NAME" prints 'UNet2DConditionModel' \
    inspect tiny.safetensors/unet
ok "it draws what the folder does" draw_same "$tiny" tiny.safetensors

ok "a checkpoint's parts" prints 'text_encoder_2 .*CLIPTextModelWithProjection' \
    inspect "$single/sdxl.safetensors"
ok "its tokenizer" prints '^.49406, 320, 2368, 49407, 0, ' \
    tokenize --model "$single/sdxl.safetensors/tokenizer_2" "a cat"
ok "half of a checkpoint" sh -c "head -c 40000 '$single/sd1.safetensors' >half.safetensors"
ok "is refused" fails 1 "half.safetensors: .*cut short" convert half.safetensors --to out
DFX_DATADIR=$work/none
ok "without the library's files" fails 1 "$work/none/tokenizers/clip/vocab.json: is missing" \
    convert "$single/sd1.safetensors" --to out
ok "nothing is left behind" absent out
done_testing
