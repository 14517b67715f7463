dnl dfx_flags.m4 - compiler and linker flags: warnings, instruction sets, sanitizers, wrapping.

dnl DFX_TRY_FLAGS(FLAGS, IF-TAKEN, [IF-NOT]) - whether the compiler takes the flags without a word.
AC_DEFUN([DFX_TRY_FLAGS], [
    AC_MSG_CHECKING([whether $CC takes $1])
    dfx_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $1"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
        [AC_MSG_RESULT([yes])
         CFLAGS=$dfx_saved_CFLAGS
         $2],
        [AC_MSG_RESULT([no])
         CFLAGS=$dfx_saved_CFLAGS
         $3])
])

dnl DFX_COMPILER_FLAGS - DFX_CFLAGS for every file, --enable-werror, optimisation by default.
AC_DEFUN([DFX_COMPILER_FLAGS], [
    AC_ARG_ENABLE([werror],
        [AS_HELP_STRING([--enable-werror], [treat compiler warnings as errors])],
        [], [enable_werror=no])
    DFX_CFLAGS=
    m4_foreach_w([dfx_flag], [-std=gnu11 -fvisibility=hidden -ffp-contract=off -Wall -Wextra -Wpedantic -Wshadow
                              -Wmissing-prototypes -Wstrict-prototypes],
        [DFX_TRY_FLAGS(dfx_flag, [AS_VAR_APPEND([DFX_CFLAGS], [" dfx_flag"])])])
    dnl (contract: schedules are the same on machines with fused multiply-add)
    dnl json-c's loop over an object is a statement expression.
    DFX_TRY_FLAGS([-Wgnu-statement-expression],
        [AS_VAR_APPEND([DFX_CFLAGS], [" -Wno-gnu-statement-expression"])])
    AS_IF([test "$enable_werror" = yes], [AS_VAR_APPEND([DFX_CFLAGS], [" -Werror"])])
    DFX_OPTIMISE= DFX_OPTIMISE_CPU= dfx_optimise_text=
    AS_IF([test "$dfx_optimise" = yes],
        [DFX_OPTIMISE=-O2 DFX_OPTIMISE_CPU=-O3 dfx_optimise_text="-O2 "])
    AC_SUBST([DFX_CFLAGS])
    AC_SUBST([DFX_OPTIMISE])
    AC_SUBST([DFX_OPTIMISE_CPU])
])

dnl DFX_CPU_FLAGS - the instruction sets, besides the compiler's own, that the inner loops of the
dnl CPU device are compiled for; the library asks the processor before it calls them.
AC_DEFUN([DFX_CPU_FLAGS], [
    CPU_CFLAGS=
    dnl psabi: vectors longer than the registers are passed between inlined functions only.
    m4_foreach_w([dfx_flag], [-ffp-contract=fast -Wno-psabi],
        [DFX_TRY_FLAGS(dfx_flag, [AS_VAR_APPEND([CPU_CFLAGS], [" dfx_flag"])])])
    AC_SUBST([CPU_CFLAGS])
    dfx_have_avx2=no dfx_have_avx512=no dfx_have_avx512bf16=no dfx_have_amx=no dfx_cpu_built=
    AS_CASE([$host_cpu], [x86_64], [
        DFX_TRY_FLAGS([-mavx2 -mfma -mf16c],
            [dfx_have_avx2=yes
             AS_VAR_APPEND([dfx_cpu_built], [" avx2"])
             AC_SUBST([AVX2_CFLAGS], ["-mavx2 -mfma -mf16c"])])
        DFX_TRY_FLAGS([-mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c],
            [dfx_have_avx512=yes
             AS_VAR_APPEND([dfx_cpu_built], [" avx512"])
             AC_SUBST([AVX512_CFLAGS],
                 ["-mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c"])
             DFX_TRY_FLAGS([-mavx512bf16],
                 [dfx_have_avx512bf16=yes
                  AS_VAR_APPEND([dfx_cpu_built], [" avx512bf16"])
                  DFX_TRY_FLAGS([-mamx-tile -mamx-bf16],
                      [dfx_have_amx=yes
                       AS_VAR_APPEND([dfx_cpu_built], [" amx"])])])])
    ])
    AM_CONDITIONAL([HAVE_AVX2], [test $dfx_have_avx2 = yes])
    AM_CONDITIONAL([HAVE_AVX512], [test $dfx_have_avx512 = yes])
    AM_CONDITIONAL([HAVE_AVX512BF16], [test $dfx_have_avx512bf16 = yes])
    AM_CONDITIONAL([HAVE_AMX], [test $dfx_have_amx = yes])
])

dnl DFX_SANITIZE - --enable-sanitize=LIST, as -fsanitize takes it.
AC_DEFUN([DFX_SANITIZE], [
    AC_ARG_ENABLE([sanitize],
        [AS_HELP_STRING([--enable-sanitize=LIST], [run-time checks: address,undefined])],
        [AS_IF([test "$enableval" = yes], [enable_sanitize=address,undefined])],
        [enable_sanitize=no])
    SANITIZE_CFLAGS=
    AS_IF([test "$enable_sanitize" != no],
        [SANITIZE_CFLAGS="-fsanitize=$enable_sanitize -fno-sanitize-recover=all"
         AS_VAR_APPEND([SANITIZE_CFLAGS], [" -fno-omit-frame-pointer"])
         dfx_saved_CFLAGS=$CFLAGS
         CFLAGS="$CFLAGS $SANITIZE_CFLAGS"
         AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [],
             [AC_MSG_ERROR([$CC cannot link with $SANITIZE_CFLAGS])])
         CFLAGS=$dfx_saved_CFLAGS])
    AC_SUBST([SANITIZE_CFLAGS])
    AM_CONDITIONAL([LIBFUZZER], [AS_CASE([$enable_sanitize], [*fuzzer*], [:], [false])])
])

dnl DFX_LINKER_WRAP - whether the linker has --wrap, which tests/break_dfx is made with.
AC_DEFUN([DFX_LINKER_WRAP], [
    AC_CACHE_CHECK([whether the linker has --wrap], [dfx_cv_linker_wrap],
        [dfx_saved_LDFLAGS=$LDFLAGS
         LDFLAGS="$LDFLAGS -Wl,--wrap=getenv"
         AC_LINK_IFELSE([AC_LANG_PROGRAM([[
#include <stdlib.h>
char *__real_getenv(const char *name);
char *__wrap_getenv(const char *name);
char *__wrap_getenv(const char *name) { return __real_getenv(name); }
]], [[return getenv("dfx") != 0;]])],
             [dfx_cv_linker_wrap=yes], [dfx_cv_linker_wrap=no])
         LDFLAGS=$dfx_saved_LDFLAGS])
    AM_CONDITIONAL([HAVE_WRAP], [test $dfx_cv_linker_wrap = yes])
    AS_IF([test $dfx_cv_linker_wrap = yes], [dfx_wrap_text=tested],
        [dfx_wrap_text="not tested (the linker has no --wrap)"])
])
