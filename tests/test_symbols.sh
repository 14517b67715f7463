# test_symbols.sh - what the shared library exports: the functions of the public headers, no others.
top=${srcdir-.}
. "$top/tests/tap.sh"

if ! test -f "$DFX_LIBRARY" || ! command -v nm >/dev/null; then
    skip 'exported symbols' 'no shared library, or no nm'
    done_testing
    exit
fi

work=symbols.$$
mkdir "$work" && trap 'rm -rf "$work"' EXIT || exit 99
nm -D --defined-only "$DFX_LIBRARY" | awk '{ sub(/@.*/, "", $NF); print $NF }' | sort -u \
    >"$work/exported"
cat "$top"/include/dfxcl.h "$top"/include/dfxcl/*.h |
    sed -n 's/^DFX_API[^(]*[ *]\(dfx_[a-z0-9_]*\)(.*/\1/p' | sort -u >"$work/declared"

only_public_names()
{
    ! grep -v '^dfx_[a-z]' "$work/exported"
}

# Two sorted lists that should have the same lines; prints those that only one has.
same()
{
    test -s "$1" && ! comm -3 "$1" "$2" | grep .
}

ok 'nothing but dfx_* is exported' only_public_names
ok 'exported functions are the declared ones' same "$work/declared" "$work/exported"
done_testing
