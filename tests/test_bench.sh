#!/bin/sh
# test_bench.sh - dfx-bench: its groups, its record, comparing and drawing; nothing about times.
srcdir=${srcdir:-.}
. "$srcdir/tests/tap.sh"
bench=${DFX_BENCH:-./dfx-bench}
case $bench in
    /*) ;;
    *) bench=$PWD/$bench ;;
esac
dfx=$bench # what fails() of tap.sh runs
DFX_DEVICE=${DFX_DEVICE:-cpu}
export DFX_DEVICE
work=$(mktemp -d "$PWD/test_bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

says()
{
    printf '%s' "$1" | grep -q -- "$2"
}

test_usage()
{
    ok "an unknown group" fails 2 '--only: .* must be some of' --only gemm,conf
    ok "an unknown dtype" fails 2 '--dtype: "f64" must be' --dtype f64
    ok "an unknown option" fails 2 ".*did you mean --quick" --quik
    ok "a second record alone" fails 2 ".*only --compare" B.json
    ok "--compare with one record" fails 2 "--compare needs two records" --compare A.json
    ok "an unknown device" fails 2 ".*opencl:N" --device gpu
    ok "a record that cannot be written" fails 1 "no/a.json" --json no/a.json
    ok "a plot that is not SVG" fails 2 '--plot: "a.png" must end with .svg' --plot a.png
    ok "--plot without peaks" fails 2 "--plot needs" --quick --only ops --plot a.svg
}

test_record()
{
    table=$("$bench" --quick --only bandwidth,flops,ops --json a.json --plot a.svg)
    ok "a bench runs" test $? -eq 0
    ok "its table has the memory's speed" says "$table" '^read .*global memory'
    ok "and the peak of f32" says "$table" '^multiply-add .*f32'
    ok "and a norm" says "$table" '^group_norm .*SD 1.5'
    ok "the record has its schema" grep -q '"schema": 1' a.json
    ok "the record has the norm" grep -q '"name": "group_norm"' a.json
    ok "the record has no group that was not asked for" test -z "$(grep '"group": "conv"' a.json)"
    ok "the plot is SVG" grep -q '^<svg .*</svg>$\|^<svg' a.svg
    ok "the plot ends" grep -q '</svg>' a.svg
    ok "--json - prints JSON alone" test "$("$bench" --quick --only ops --json - | head -c 1)" = '{'
}

test_compare()
{
    text=$("$bench" --compare a.json a.json)
    ok "a record compares with itself" says "$text" '^group_norm .* 1\.00$'
    ok "a file that is not there" fails 1 "none.json" --compare a.json none.json
    echo '{"schema": 99, "devices": []}' >other.json
    ok "a schema of another version" fails 1 ".*not a record" --compare a.json other.json
    echo '[' >torn.json
    ok "a torn file" fails 1 "torn.json" --compare torn.json a.json
    echo '{"schema": 1, "devices": [{"name": 7, "rows": 3}, 4]}' >odd.json
    ok "odd values do no harm" "$bench" --compare odd.json a.json
}

test_tune()
{
    XDG_CACHE_HOME=$work/cache
    export XDG_CACHE_HOME
    ok "a time that is none" fails 2 '--budget: "5x" must be' --tune --budget 5x
    ok "no time at all" fails 2 '--budget: "0" must be' --tune --budget 0
    ok "--budget alone" fails 2 "--budget is for --tune" --budget 5m
    ok "--tune measures nothing else" fails 2 "--tune, --import and --export" --tune --quick
    ok "a file of one device" fails 2 "--import and --export" --export t.json --device all
    ok "a file that cannot be written" fails 1 "no/t.json" --export no/t.json
    ok "nothing to export" fails 1 "device cpu.*dfx-bench --tune" --device cpu --export t.json
    ok "no file is left" test ! -e t.json
    echo '{"schema": 1}' >bad.json
    ok "a file of another kind" fails 1 "bad.json: not a file" --device cpu --import bad.json
    ok "a search of no time ends" prints "^cpu: " --device cpu --tune --budget 0.001s
}

# What is taken over is exported again.
test_tuning_file()
{
    "$bench" --device cpu --only ops --quick --json here.json >/dev/null
    field() { sed -n "s/^ *\"$1\": *\(.*[^,]\),*$/\1/p" here.json | head -n 1; }
    cat >there.json <<END
{"schema": 1, "kind": "dfxcl tuning", "device": $(field name), "platform": $(field platform),
 "driver": $(field driver), "units": $(field units), "library": $(field library), "kernels": {},
 "choices": {"a call": {"variant": "x", "seconds": {"x": 1.5}}}}
END
    ok "a file of such a device" prints "parameters of 0 kernels and times of 1 calls" \
        --device cpu --import there.json --export again.json
    ok "what was taken over is written" grep -q '"a call"' again.json
    sed 's/"device": "/&another /' there.json >other.json
    ok "one of another device" fails 1 "other.json: of another " --device cpu --import other.json
}

test_usage
test_tune
test_tuning_file
test_record
test_compare
done_testing
