# test_install.sh - an installed library: README.md's program and the command draw with it.
top=${srcdir-.}
. "$top/tests/tap.sh"

work=$PWD/install.$$
mkdir "$work" && trap 'rm -rf "$work"' EXIT || exit 99
unset MAKEFLAGS MFLAGS MAKELEVEL

PKG_CONFIG_PATH=$work/root$libdir/pkgconfig${PKG_CONFIG_PATH+:$PKG_CONFIG_PATH}
PKG_CONFIG_SYSROOT_DIR=$work/root
LD_LIBRARY_PATH=$work/root$libdir${LD_LIBRARY_PATH+:$LD_LIBRARY_PATH}
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH
model=$work/root$datadir/dfxcl/models/emoji
DFX_DEVICE=cpu DFX_MODEL=$model
export DFX_DEVICE DFX_MODEL
unset DFX_DATADIR

# The program of README.md, its first block of C, as it stands there.
awk '/^```c$/ { inside = 1; next } /^```$/ && inside { exit } inside' "$top/README.md" \
    >"$work/program.c"
cp "$work/program.c" "$work/program.cc"

install_all()
{
    "${MAKE-make}" install DESTDIR="$work/root"
}

# build_and_run COMPILER SOURCE: compiles as a user would, runs it, looks at what it has drawn.
build_and_run()
{
    rm -f "$work/apple.png"
    $1 $CFLAGS -o "$work/program" "$work/$2" $($PKG_CONFIG --cflags --libs dfxcl) &&
        (cd "$work" && ./program) && test -s "$work/apple.png"
}

notices_are_there()
{
    test -s "$model/LICENSE-font.txt" && test -s "$model/LICENSE-names.txt"
}

draw()
{
    "$work/root$bindir/dfx" generate 'red apple' --steps 2 --output "$work/command.png" &&
        test -s "$work/command.png"
}

ok 'make install' install_all
ok 'pkg-config knows the library' $PKG_CONFIG --exists dfxcl
ok 'the C program of README.md builds and draws' \
    build_and_run "$CC -std=c11 -Wpedantic -Wall -Werror" program.c
case $CC in
*clang*) cxx=clang++ ;;
*) cxx=g++ ;;
esac
if command -v $cxx >/dev/null; then
    ok 'it is C++ too' build_and_run "$cxx -Wall -Wextra -Werror" program.cc
else
    skip 'it is C++ too' "no $cxx"
fi
ok 'the notices of the model are installed' notices_are_there
ok 'tunings are installed' test -s "$work/root$datadir/dfxcl/tunings/pocl-cpu.json"
ok 'the installed command draws' draw
done_testing
