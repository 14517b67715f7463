dnl dfx_need.m4 - libraries that have to be there; all that are missing are named in one error.

dnl DFX_NEED(PREFIX, MODULE) - PREFIX_CFLAGS and PREFIX_LIBS of a pkg-config module.
AC_DEFUN([DFX_NEED], [
    PKG_CHECK_MODULES([$1], [$2], [], [AS_VAR_APPEND([dfx_missing], [" $2"])])
])

dnl DFX_NEED_END - ends with the error; bin/packages.txt knows the packages of the modules.
AC_DEFUN([DFX_NEED_END], [
    AS_IF([test -n "$dfx_missing"], [
        dfx_packages=
        for dfx_module in $dfx_missing; do
            AS_VAR_APPEND([dfx_packages], [" `$AWK -v module=$dfx_module \
                '$[]2 == module { print $[]3 }' "$srcdir/bin/packages.txt"`"])
        done
        AS_IF([test -n "$PKG_CONFIG"], [], [dfx_packages=" pkg-config$dfx_packages"])
        AC_MSG_ERROR([pkg-config does not find$dfx_missing. On Debian or Ubuntu:
    apt install$dfx_packages
Elsewhere install their development files, or set PKG_CONFIG_PATH to where their .pc files are.
OpenCL and CLBlast can be left out: --without-opencl, --without-clblast.])
    ])
])
