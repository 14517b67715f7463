# test_install.sh - an installed library: programs compile against it and the command draws.
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

cat >"$work/program.c" <<'END'
#include <dfxcl.h>
#include <stdio.h>

int main(void)
{
    dfx_device *device;
    if (dfx_device_open(&device, "cpu") != DFX_OK) {
        fprintf(stderr, "%s\n", dfx_error());
        return 1;
    }
    printf("%s %s\n", dfx_version(), dfx_device_get_info(device)->name);
    dfx_device_free(device);
    return 0;
}
END
cp "$work/program.c" "$work/program.cc"

install_all()
{
    "${MAKE-make}" install DESTDIR="$work/root"
}

# build COMPILER SOURCE: compiles as a user would, and runs it.
build_and_run()
{
    $1 $CFLAGS -o "$work/program" "$work/$2" $($PKG_CONFIG --cflags --libs dfxcl) && "$work/program"
}

notices_are_there()
{
    test -s "$model/LICENSE-font.txt" && test -s "$model/LICENSE-names.txt"
}

draw()
{
    "$work/root$bindir/dfx" generate 'red apple' --device cpu --steps 2 --model "$model" \
        --output "$work/apple.png" && test -s "$work/apple.png"
}

ok 'make install' install_all
ok 'pkg-config knows the library' $PKG_CONFIG --exists dfxcl
ok 'a C program builds and runs' build_and_run "$CC -std=c11 -Wpedantic -Wall -Werror" program.c
case $CC in
*clang*) cxx=clang++ ;;
*) cxx=g++ ;;
esac
if command -v $cxx >/dev/null; then
    ok 'a C++ program builds and runs' build_and_run "$cxx -Wall -Wextra -Werror" program.cc
else
    skip 'a C++ program builds and runs' "no $cxx"
fi
ok 'the notices of the model are installed' notices_are_there
ok 'the installed command draws' draw
done_testing
