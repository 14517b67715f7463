# test_layers.sh - the rules of the source tree: layers, sizes, and lists that name every file.
top=${srcdir-.}
. "$top/tests/tap.sh"
cd "$top" || exit 99

# Folders under lib/ by rank: a folder includes lower ranks and itself only.
ranks='core=0 device=1 sequence=2 op=3 weights=4 tokenizer=5 media=4 nn=5 model=6 scheduler=6
       pipeline=7 train=8 export=8 bench=8'

# Prints the #include lines that break the rules and fails if there are any.
layers()
{
    find lib -name '*.[ch]' | sort | xargs awk -v ranks="$ranks" '
        BEGIN {
            n = split(ranks, entry, /[ \n]+/)
            for (i = 1; i <= n; i++) {
                split(entry[i], pair, "=")
                rank[pair[1]] = pair[2]
            }
        }
        function wrong(why)
        {
            print FILENAME ":" FNR ": " $0 ": " why
            bad = 1
        }
        FNR == 1 {
            split(FILENAME, part, "/")
            own = part[2]
            if (!(own in rank))
                wrong(own " has no rank in tests/test_layers.sh")
        }
        /^[ \t]*#[ \t]*include[ \t]*"/ {
            split($0, quoted, "\"")
            split(quoted[2], path, "/")
            if (quoted[2] == "dfxcl.h" || path[1] == "dfxcl")
                next
            if (!(path[1] in rank))
                wrong("paths start at lib/")
            else if (path[1] != own && rank[path[1]] >= rank[own])
                wrong(own " may not include " path[1])
        }
        END { exit bad }'
}

# OpenCL and CLBlast are known to lib/device/cl* alone, and to the test that breaks their calls.
opencl_apart()
{
    ! find lib bin include tests -name '*.[ch]' ! -path 'lib/device/cl*' \
        ! -path 'tests/break_cl*' -print0 |
        xargs -0 grep -nE '#[ 	]*include[ 	]*[<"](CL/|OpenCL/|clblast)'
}

# The command proves the public interface: "dfxcl.h" or "dfxcl/x.h", the system, and files of bin/.
bin_is_public()
{
    grep -nE '#[ 	]*include[ 	]*"' bin/*.[ch] | grep -v '"dfxcl[./]' | {
        status=0
        while IFS= read -r line; do
            file=$(printf '%s\n' "$line" | sed 's/.*"\(.*\)".*/\1/')
            test -f "bin/$(basename "$file")" || { echo "$line"; status=1; }
        done
        exit $status
    }
}

no_long_files()
{
    find lib bin include cl tests -name '*.[ch]' -o -name '*.cl' -o -name '*.sh' | sort |
        xargs awk 'FNR == 601 { print FILENAME " has over 600 lines"; bad = 1 } END { exit bad }'
}

# Each file of a folder stands in the folder's Makefile.inc; a forgotten one fails to ship.
all_listed()
{
    status=0
    for file in $(find "$1" -name '*.[ch]' -o -name '*.cl' -o -name 'test_*.sh' | sort); do
        case $file in
        cl/kernels.c | tests/tap.h | tests/data/* | tests/gen/*) continue ;;
        tests/test_*.c | tests/fuzz/fuzz_*.c) word=${file%.c} ;;
        *) word=$file ;;
        esac
        grep -qE "(^|[ 	])$word( |\$)" "$2" || { echo "$file is not in $2"; status=1; }
    done
    return $status
}

# The first block of C on the page is the file.
model_is_documented()
{
    awk '/^```c$/ { inside = 1; next } /^```$/ && inside { exit } inside' docs/adding-a-model.md |
        diff - lib/model/redux_image_encoder.c
}

ok 'docs/adding-a-model.md shows the model as it is' model_is_documented
ok 'folders of lib/ include lower ranks only' layers
ok 'OpenCL headers appear in lib/device/cl* only' opencl_apart
ok 'bin/ includes public headers only' bin_is_public
ok 'no file has over 600 lines' no_long_files
ok 'include/ is listed' all_listed include lib/Makefile.inc
for folder in lib cl bin tests; do
    ok "$folder/ is listed" all_listed $folder $folder/Makefile.inc
done
done_testing
