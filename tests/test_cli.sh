#!/bin/sh
# test_cli.sh - the command: usage errors and exit codes, generation, what it leaves behind.
srcdir=${srcdir:-.}
. "$srcdir/tests/tap.sh"
tiny=$(cd "$srcdir/tests/data" && pwd)/tiny_xl
unconditional=$(cd "$srcdir/tests/data" && pwd)/unconditional
dfx=${DFX:-./dfx}
case $dfx in
    /*) ;;
    *) dfx=$PWD/$dfx ;;
esac
DFX_MODEL=$(cd "${DFX_MODEL:-$srcdir/share/models/emoji}" && pwd)
DFX_DEVICE=cpu
export DFX_MODEL DFX_DEVICE
unset DFX_DTYPE
work=$(mktemp -d "$PWD/test_cli.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# draws FILE ARGUMENT...: a small picture drawn with 2 steps is a PNG file.
draws()
{
    file=$1
    shift
    "$dfx" generate "red apple" --steps 2 --seed 42 --quiet "$@" && is_png "$file"
}

is_png()
{
    test "$(dd if="$1" bs=1 skip=1 count=3 2>/dev/null)" = PNG
}

empty()
{
    test -z "$(ls -A "$1")"
}

test_usage()
{
    ok "no command" fails 2 "a command is missing"
    ok "unknown command" fails 2 "genrate: no such command; did you mean generate" genrate
    ok "option before the command" fails 2 "--steps: no such option" --steps 2
    ok "version" prints '^dfx [0-9]' --version
    ok "help" prints 'commands:' --help
    for command in generate devices selftest inspect forward tokenize schedule rng; do
        ok "$command --help" prints '^example:' $command --help
    done
    ok "unknown option" fails 2 "--stpes: no such option; did you mean --steps" generate a --stpes 2
    ok "unknown short option" fails 2 "-q: no such option" generate a -q
    ok "missing value" fails 2 "--steps: a value is missing" generate a --steps
    ok "option for a value" fails 2 "--steps: a value is missing" generate a --steps --seed 1
    ok "value for a flag" fails 2 "--quiet: takes no value" generate a --quiet=yes
    ok "not a number" fails 2 "--steps: \"2x\" is not" generate a --steps 2x
    ok "fraction of a step" fails 2 "--steps: \"2.5\" is not" generate a --steps 2.5
    ok "zero steps" fails 2 "--steps: 0 is out of range" generate a --steps 0
    ok "zero pictures" fails 2 "--batch: 0 is out of range" generate a --batch=0
    ok "guidance nan" fails 2 "--guidance: \"nan\" is not" generate a --guidance nan
    ok "seed too large" fails 2 "--seed: " generate a --seed 18446744073709551616
    ok "two prompts" fails 2 "--prompt: " generate a --prompt b
    ok "prompt without quotes" fails 2 "apple: " generate red apple
    ok "no prompt" fails 2 "prompt: StableDiffusionPipeline needs one" generate
    ok "no file to inspect" fails 2 "FILE.png|MODEL is missing" inspect
    ok "forward without a model" fails 2 "--model is missing" forward
    ok "a crop without a mask" fails 2 "--padding-mask-crop: needs --mask" \
        generate a --init-image i.png --padding-mask-crop 3
    ok "a mask without a picture" fails 2 "--mask: needs --init-image" generate a --mask m.png
    ok "a strength without a picture" fails 2 "--strength: needs --init-image" \
        generate a --strength 0.5
    ok "a strength over 1" fails 2 "--strength: 2" generate a --strength 2
    ok "no such picture" fails 1 "none.png" generate a --init-image none.png
}

test_wrong_settings()
{
    ok "odd width" fails 2 ".*idth" generate a --width 129
    ok "schedulers" prints 'EulerDiscreteScheduler (euler' schedule --list
    ok "schedulers as JSON" prints '"class": *"DDIMScheduler"' schedule --list --json
    ok "unknown scheduler" fails 2 "--scheduler: " generate a --scheduler bogus
    ok "unknown device" fails 2 ".*gpu9" generate a --device gpu9
    ok "missing device" fails 1 ".*[oO]pen[cC][lL]" generate a --device opencl:99
    ok "unknown dtype" fails 2 "--dtype: " generate a --dtype f8
    ok "unknown tiling" fails 2 "--tile: \"yes\" must be auto, on or off" generate a --tile yes
    ok "dtype for no model" fails 2 "--dtype: " generate a --dtype i32
    ok "missing model" fails 1 ".*no/model" generate a --model no/model
    ok "missing depth map" fails 1 "no.png: " generate a --depth no.png
    ok "a setting of other pipelines" fails 2 "image_guidance_scale: StableDiffusionPipeline does" \
        generate a --image-guidance 2
    ok "a preview on stdout" fails 2 "--preview: " generate a --preview -
    ok "a preview that cannot be" fails 1 "no/p.png: cannot" generate a --preview no/p.png
    ok "a preview's model alone" fails 2 "--preview-model: needs" generate a --preview-model no
    ok "a preview by no autoencoder" fails 1 "--preview: UNet2D" \
        generate a --quiet --preview p.png --preview-model "$DFX_MODEL/unet"
    ok "missing latents" fails 1 "no.safetensors" generate a --latents no.safetensors
    ok "folder that is not there" fails 1 "no/o.png: cannot" generate a --output no/o.png
    ok "folder as output" fails 1 ".*folder" generate a --output .
    ok "trace that cannot be" fails 1 "no/t: cannot" generate a --trace no/t
    ok "batch on stdout" fails 2 "--output: " generate a --output - --batch 2
    ok "inspect a missing file" fails 1 "no.png: " inspect no.png
    ok "inspect what is no PNG" fails 1 "out.txt: not a PNG" inspect out.txt
    rm -f out.txt err.txt
    ok "nothing was left behind" empty .
}

test_information()
{
    ok "devices lists cpu" prints '^cpu ' devices
    ok "devices --json" prints '"id": "cpu"' devices --json
    ok "inspect a model" prints 'UNet2DConditionModel.* [0-9]* parameters' inspect "$DFX_MODEL"
    ok "a plan" prints '^unet  *[a-z:0-9]* *f[0-9]* ' inspect "$DFX_MODEL" --plan
    ok "a plan as JSON" prints '"activation_bytes": [1-9]' inspect "$DFX_MODEL" --plan --json
    ok "a plan of a size" prints '^128 x 64, a batch of 2, on cpu' inspect "$DFX_MODEL" --plan \
        --width 128 --height 64 --batch 2 --device cpu
    OMP_NUM_THREADS=2 # some kernels take memory for each core
    export OMP_NUM_THREADS
    ok "a plan under a limit" prints 'of the weights stay on the host' inspect "$DFX_MODEL" \
        --plan --memory-limit 24M --device cpu --dtype f16
    ok "a plan that does not fit" sh -c "\"$dfx\" inspect \"$DFX_MODEL\" --plan --memory-limit 4M \
        --device cpu 2>&1 >out.txt | grep -q '^dfx: unet: .*the limit is 4.0 MiB'"
    ok "a plan of a component" fails 2 "--plan: .*vae is no model" inspect "$DFX_MODEL/vae" --plan
    ok "a picture that does not fit" fails 1 "unet: .*the limit is 4.0 MiB" generate a --seed 1 \
        --device cpu --memory-limit 4M
    unset OMP_NUM_THREADS
    ok "a limit that is none" fails 2 '--memory-limit: "lots" is not a size' generate a \
        --memory-limit lots
    ok "inspect a component" prints 'AutoencoderKL.* [0-9]* parameters' inspect "$DFX_MODEL/vae"
    if "$dfx" devices | grep -q '^opencl:0 '; then
        ok "selftest of an operator" prints 'silu' selftest --device opencl --op silu --small
    else
        skip "selftest of an operator" "no OpenCL device"
    fi
    if test -c /dev/full; then
        ok "full standard output" sh -c "\"$dfx\" devices >/dev/full; test \$? -eq 1"
    else
        skip "full standard output" "no /dev/full"
    fi
}

stores()
{
    prints "^$2\$" inspect "$1"
}

test_generate()
{
    ok "a picture" draws a.png --output a.png
    ok "the same again" draws b.png --output b.png
    ok "has the same bytes" cmp a.png b.png
    ok "its prompt is stored" stores a.png 'prompt: red apple'
    ok "its seed is stored" stores a.png 'seed: 42'
    ok "its steps are stored" stores a.png 'steps: 2'
    ok "its parameters line" prints 'Steps: 2, Sampler: .*Seed: 42, .*Model hash: ' inspect a.png
    ok "inspect --json" prints '"seed": "42"' inspect --json a.png
    ok "the default name" draws red-apple-42.png
    ok "the path is printed" prints '^red-apple-7.png$' generate "red apple" --seed 7 --steps 2
    "$dfx" generate x --steps 1 --output s.png >out.txt 2>seed.txt
    ok "a chosen seed is told" grep -q '^seed [0-9]' seed.txt
    ok "speed and memory are told" grep -q 'steps/s.*peak memory' err.txt
    ok "JSON" prints '"files"' generate a --steps 1 --seed 1 --json --output j.png
    "$dfx" generate "red apple" --steps 2 --seed 42 --quiet --output - >c.png 2>err.txt
    ok "a picture on stdout" cmp a.png c.png
    ok "and nothing on stderr" test ! -s err.txt
    ok "a batch" draws m-1.png --batch 2 --output m.png
    ok "the batch's second picture" is_png m-2.png
    ok "the pictures differ" sh -c '! cmp -s m-1.png m-2.png'
    ok "another scheduler" draws e.png --scheduler euler --output e.png
    ok "draws another picture" sh -c '! cmp -s a.png e.png'
    ok "its class is stored" stores e.png 'scheduler: [Ee]uler.*'
    ok "a part of a picture anew" draws p.png --init-image a.png --mask e.png \
        --padding-mask-crop 0 --output p.png
    ok "its margin is stored" stores p.png 'padding_mask_crop: 0'
    ok "negative prompt" draws n.png --negative-prompt green --output n.png
    ok "is stored" stores n.png 'negative_prompt: green'
}

# the_same PNG JSON: every setting of the picture's record is in the JSON record with its value.
the_same()
{
    "$dfx" inspect "$1" | sed -n '/^parameters\|^index/d; s/^\([a-z_0-9]*\): /\1 /p' >record.txt
    test -s record.txt || return 1
    while read -r key value; do
        grep -q "^  \"$key\": \"\{0,1\}$value\"\{0,1\},\$" "$2" && continue
        echo "no $key $value"
        return 1
    done <record.txt
}

# recorded ARGUMENT...: of a picture q.png, in q.json.
recorded()
{
    "$dfx" generate "red apple" --steps 4 --seed 42 --quiet --json --output q.png "$@" >q.json &&
        the_same q.png q.json
}

test_records()
{
    ok "JSON has the picture's record" recorded --guidance-rescale 0.25 --clip-skip 1 \
        --negative-prompt "green, blue" --guidance 3.1
    ok "with numbers as such" grep -q '"guidance_rescale": 0.25,' q.json
    ok "and texts as such" grep -q '"negative_prompt": "green, blue",' q.json
    ok "of a run from a picture" recorded --init-image a.png --strength 0.55 --mask e.png \
        --padding-mask-crop 3 --long-prompts --max-embeddings-multiples 2
    ok "its strength" grep -q '"strength": 0.55,' q.json
    ok "of long prompts" grep -q '"long_prompts": "yes",' q.json
    ok "of a picture in tiles" recorded --tile on --width 128 --height 128
    ok "their number" grep -q '"tiles": 9,' q.json
    ok "and none" recorded --tile off --width 128 --height 128
    ok "which is not said" sh -c '! grep tiles q.json'
    ok "of SDXL" recorded --model "$tiny" --original-size 100x80 --crop 3,-2 --prompt-2 red \
        --init-image a.png --denoising-start 0.5
    ok "its sizes" grep -q '"original_size": "100x80",' q.json
}

# A safetensors file: 8 bytes of header length, the header, [1, 4, 16, 16] zeros.
make_latents()
{
    header='{"latents":{"dtype":"F32","shape":[1,4,16,16],"data_offsets":[0,4096]}}'
    printf "\\$(printf %o ${#header})\\0\\0\\0\\0\\0\\0\\0%s" "$header"
    dd if=/dev/zero bs=4096 count=1 2>/dev/null
}

traced()
{
    for name in latents.0000 latents.0001 prompt_embeds image; do
        grep -aq "\"$name\"" t.safetensors || return 1
    done
    ! grep -aq '"latents.0002"' t.safetensors
}

test_tensors()
{
    ok "a traced picture" draws t.png --trace t.safetensors --output t.png
    ok "the trace has its tensors" traced
    ok "tracing changes nothing" cmp a.png t.png
    make_latents >l.safetensors
    ok "given latents" draws l.png --latents l.safetensors --width 64 --height 64 --output l.png
    ok "draw another picture" sh -c '! cmp -s a.png l.png'
    ok "latents of another batch" fails 2 "--batch: " generate a --latents l.safetensors --batch 2
    ok "a file without latents" fails 1 "t.safetensors: " generate a --latents t.safetensors
    ok "forward without its inputs" fails 1 "" forward --model "$DFX_MODEL/unet" \
        --in l.safetensors --out f.safetensors
    ok "writes nothing" test ! -e f.safetensors
}


# Pictures of the same pixels, which stand behind the texts.
same_end()
{
    is_png "$1" && tail -c "${3:-2000}" "$1" >end && tail -c "${3:-2000}" "$2" | cmp - end
}

test_preview()
{
    ok "a preview" draws a2.png --preview p.png --output a2.png
    ok "changes nothing" cmp a.png a2.png
    ok "the last one is the result" same_end p.png a.png
    ok "of two pictures" draws b-1.png --preview q.png --preview-every 2 --batch 2 \
        --preview-model "$DFX_MODEL/vae" --output b.png
    ok "are two" same_end q-2.png b-2.png
}

# The refiner's folder with the parts that it shares with the base
make_refiner()
{
    mkdir refiner &&
        cp -R "$tiny"_refiner/* refiner/ &&
        cp -R "$tiny/text_encoder_2" "$tiny/vae" refiner/
}

two_steps()
{
    "$dfx" generate apple --seed 3 --steps 10 --quiet --model "$@" >out.txt 2>err.txt
    code=$?
    cat err.txt
    return $code
}

test_sdxl()
{
    ok "a refiner's folder" make_refiner
    ok "the base's latents" two_steps "$tiny" --denoising-end 0.6 --save-latents x.safetensors
    ok "are all that is written" test ! -e apple-3.png
    ok "the refiner's picture" two_steps refiner --denoising-start 0.6 \
        --init-latents x.safetensors --output x.png
    ok "both in one command" two_steps "$tiny" --denoising-end 0.6 --refiner refiner \
        --output y.png --trace xt.safetensors
    "$dfx" inspect x.png | grep -v denoising >x.txt
    "$dfx" inspect y.png >y.txt
    ok "record the hand-over" grep -q "denoising_end.*0.6" y.txt
    ok "and the refiner" grep -q "refiner.*refiner" y.txt
    ok "a picture of its sizes" two_steps "$tiny" --original-size 100x80 --crop 3,-2 \
        --prompt-2 red --output z.png
    "$dfx" inspect z.png >z.txt
    ok "record them" grep -q "crop.*3,-2" z.txt
    ok "and the prompt" grep -q "prompt_2.*red" z.txt
    cp -R "$tiny" inpainter
    sed s/StableDiffusionXLPipeline/StableDiffusionXLInpaintPipeline/ "$tiny/model_index.json" \
        >inpainter/model_index.json
    ok "a folder of an inpainting class draws from text" two_steps inpainter --output w.png
    ok "and in a picture" two_steps inpainter --init-image z.png --mask w.png --output v.png
    ok "no size" fails 2 "--original-size: \"100\" is not of the form WxH" \
        generate a --original-size 100
    ok "no place" fails 2 "--crop: \"1x2\" is not of the form X,Y" generate a --crop 1x2
    ok "too large a size" fails 2 "--target-size: 99999 is out of range" \
        generate a --target-size 64x99999
    ok "a refiner with a mask" fails 2 "--refiner: " \
        generate a --refiner refiner --init-image z.png --mask z.png
    ok "a start without a picture" fails 2 "--denoising-start: " generate a --denoising-start 0.5
    ok "SD with SDXL's settings" fails 2 "prompt_2: " generate a --prompt-2 b
}

# draws_without_prompt MODEL FILE ARGUMENT...
draws_without_prompt()
{
    model=$1
    file=$2
    shift 2
    "$dfx" generate --model "$model" --seed 42 --quiet "$@" && is_png "$file"
}

# The UNet's files and the scheduler's beside model_index.json
flat_model()
{
    mkdir flat && cp "$unconditional"/ddpm/*.json "$unconditional"/ddpm/*/* flat/
}

test_unconditional()
{
    ok "a picture without a prompt" draws_without_prompt "$unconditional/ddim" dfx-42.png --steps 2
    ok "stores its settings" stores dfx-42.png 'steps: 2'
    "$dfx" inspect dfx-42.png >c.txt
    ok "no prompt and no guidance" sh -c '! grep -qi "prompt\|guidance\|CFG" c.txt'
    ok "gray ones and previews" draws_without_prompt "$unconditional/gray" gray-2.png --steps 2 \
        --batch 2 --output gray.png --preview grays.png --trace gray.safetensors
    ok "are gray PNGs" test "$(od -An -tu1 -j25 -N1 gray-2.png)" -eq 0
    ok "the last preview is the picture" same_end gray-2.png grays-2.png 40
    ok "a class" draws_without_prompt "$unconditional/cm" c1.png --class-label 1 --output c1.png
    ok "is stored" stores c1.png 'class_label: 1'
    ok "another one" draws_without_prompt "$unconditional/cm" c2.png --class-label 2 --output c2.png
    ok "is another picture" sh -c '! cmp -s c1.png c2.png'
    ok "no such class" fails 2 "class_labels: 9 " \
        generate --model "$unconditional/cm" --class-label 9
    ok "a class of a model without" fails 2 "class_labels: DDPMPipeline" \
        generate --model "$unconditional/ddpm" --class-label 1
    ok "a model in one folder" flat_model
    ok "draws" draws_without_prompt flat f.png --steps 2 --output f.png
    ok "has its scheduler" prints 'DDPMScheduler' inspect flat
    ok "and its UNet" prints 'UNet2DModel  *[0-9]* parameters' inspect flat
    ok "a prompt for a model without" fails 2 "prompt: DDPMPipeline" \
        generate red --model "$unconditional/ddpm"
}

# drawn SEED SHAPE DTYPE FILE: the noise is written to FILE, with nothing on stdout or stderr.
drawn()
{
    "$dfx" rng --seed "$1" --shape "$2" --dtype "$3" --out "$4" >out.txt 2>err.txt &&
        test ! -s out.txt && test ! -s err.txt
}

# holds FILE SHAPE DTYPE TYPE VALUES: the file has that noise; od's TYPE of its last bytes.
holds()
{
    grep -aq "\"noise\":{\"dtype\":\"$3\",\"shape\":\\[$2\\]" "$1" || return 1
    got=$(tail -c "${4%% *}" "$1" | od -An -t"${4##* }")
    echo "$got"
    echo "$got" | grep -q "$5"
}

test_rng()
{
    ok "noise" drawn 42 3 f32 n.safetensors
    # torch.randn(3, generator=torch.Generator().manual_seed(42))
    ok "is torch's" holds n.safetensors 3 F32 "12 f4" '0\.3366.* 0\.1288.* 0\.2344'
    ok "of a shape" drawn 42 1,2,3,4 bf16 s.safetensors
    ok "in bf16" holds s.safetensors 1,2,3,4 BF16 "48 x2" '3ff7 3fbe 3f67'
    ok "a seed over 32 bits" drawn 4294967338 3 f32 m.safetensors
    ok "has the noise of its low 32" cmp n.safetensors m.safetensors
    ok "a negative seed" drawn -4294967254 3 f32 m.safetensors
    ok "counts from 2^64" cmp n.safetensors m.safetensors
    "$dfx" rng --seed 42 --shape 3 --out - >m.safetensors
    ok "noise on stdout" cmp n.safetensors m.safetensors
    ok "no seed" fails 2 "--seed is missing" rng --shape 3 --out n.safetensors
    ok "no shape" fails 2 "--shape is missing" rng --seed 3 --out n.safetensors
    ok "no file" fails 2 "--out is missing" rng --seed 3 --shape 3
    for shape in 0 1,0 -1 1, ,1 1x2 1,,2 "" 1,1,1,1,1,1 99999999999999999999 65536,65536; do
        ok "shape $shape" fails 2 "--shape: " rng --seed 3 --shape "$shape" --out n.safetensors
    done
    ok "dtype" fails 2 "--dtype: " rng --seed 3 --shape 3 --dtype f64 --out n.safetensors
    ok "seed under 64 bits" fails 2 "--seed: " rng --seed=-9223372036854775809 --shape 3 --out n
    ok "seed that is no number" fails 2 "--seed: " rng --seed 1.5 --shape 3 --out n
    ok "noise into no folder" fails 1 "no/n: cannot" rng --seed 3 --shape 3 --out no/n
}

# ones FILE NAME...: a safetensors file of tensors [1, 2] of ones.
ones()
{
    file=$1
    shift
    header=
    end=0
    for name in "$@"; do
        header="$header${header:+,}\"$name\":{\"dtype\":\"F32\",\"shape\":[1,2]"
        header="$header,\"data_offsets\":[$end,$((end + 8))]}"
        end=$((end + 8))
    done
    {
        printf "\\$(printf %o $((${#header} + 2)))\\0\\0\\0\\0\\0\\0\\0{%s}" "$header"
        while test $end -gt 0; do
            printf '\0\0\200\77'
            end=$((end - 4))
        done
    } >"$file"
}

# has FILE NAME...: a safetensors file with these tensors and no others.
has()
{
    tr '{' '\n' <"$1" | sed -n 's/.*"\([a-z_]*[.0-9]*\)":$/\1/p' | sort >names.txt
    shift
    cat names.txt
    test "$(tr '\n' ' ' <names.txt)" = "$* "
}

test_schedule()
{
    mkdir c
    flow='"_class_name":"FlowMatchEulerDiscreteScheduler","use_dynamic_shifting":'
    echo "{$flow false}" >c/scheduler_config.json
    echo "{$flow true}" >dynamic.json
    echo '{"_class_name":"FlaxEulerDiscreteScheduler","skip_prk_steps":true}' >euler.json
    echo '{"_class_name":"DDIMScheduler","eta":1}' >ddim.json
    ones x.safetensors sample
    ones e.safetensors output.0000 output.0001
    ones n.safetensors noise.0000
    run="--sample x.safetensors --outputs e.safetensors"
    ok "a schedule's table" prints '^   1  *499.5  3.433' schedule --config euler.json --steps 3
    ok "a folder's config" prints '^FlowMatchEuler' schedule --config c --steps 3
    ok "mu" prints '^   1  *750.63' schedule --config dynamic.json --mu 1.1 --steps 3
    ok "mu beside a class" prints '^   1  *750.63' schedule --config dynamic.json --mu 1.1 --steps 3 \
        --scheduler FlowMatchEulerDiscreteScheduler
    ok "no mu" fails 2 ".*needs mu" schedule --config dynamic.json --steps 3
    ok "mu for a class without" fails 2 ".*'mu'" schedule --config euler.json --mu 1 --steps 3
    ok "another class" prints '^DDIMScheduler' schedule --config euler.json --steps 3 \
        --scheduler DDIMScheduler
    ok "a schedule as JSON" prints '"init_noise_sigma": 1' schedule --config c --steps 3 --json
    ok "a schedule's file" "$dfx" schedule --config c --steps 2 --out o.safetensors
    ok "has its tensors" has o.safetensors init_noise_sigma sigmas timesteps
    ok "one without sigmas" "$dfx" schedule --config ddim.json --steps 2 --out o.safetensors
    ok "has none" has o.safetensors init_noise_sigma timesteps
    ok "a schedule's steps" "$dfx" schedule --config c --steps 2 --out o.safetensors $run
    ok "have their tensors" has o.safetensors init_noise_sigma sample.0000 sample.0001 sigmas \
        timesteps
    "$dfx" schedule --config c --steps 2 --out - $run >p.safetensors
    ok "and go to stdout" cmp o.safetensors p.safetensors
    ok "a stochastic step" "$dfx" schedule --config c --steps 1 --out o.safetensors $run \
        --scheduler flow_lcm --noise n.safetensors
    for option in "--steps 2" "--config c" "--config c --steps 2 --sample x.safetensors" \
        "--config c --steps 2 --outputs e.safetensors" "--config c --steps 2 $run" \
        "--config c --steps 2 --noise n.safetensors" "--config c --steps 0" \
        "--config c --steps 2 --json --out o.safetensors"; do
        ok "schedule $option" fails 2 "--" schedule $option
    done
    out="--out no.safetensors"
    ok "no noise" fails 2 "--noise is missing: FlowMatchLCM.* step 0" schedule --steps 2 \
        --scheduler flow_lcm $run $out
    ok "noise of another step" fails 1 "n.safetensors: must have noise.0001" schedule --steps 2 \
        --scheduler flow_lcm $run $out --noise n.safetensors
    ok "too few outputs" fails 1 "e.safetensors: must have output.0002" schedule --steps 3 \
        --config c $run $out
    ok "outputs without variance" fails 1 "e.safetensors: .*twice its channels" schedule \
        --steps 2 --scheduler dpmpp_2m,variance_type=learned $run $out
    ok "no sample" fails 1 'e.safetensors: .*"sample"' schedule --steps 2 --config c $out \
        --sample e.safetensors --outputs e.safetensors
    ok "a schedule of no file" fails 1 "no.json: " schedule --config no.json --steps 2
    ok "of an unknown class" fails 1 ".*'bogus'" schedule --scheduler bogus --steps 2
    ok "of an unknown key" fails 2 ".*'bogus'" schedule --scheduler ddim,bogus=1 --steps 2
    ok "nothing is left of what failed" test ! -e no.safetensors
}

test_inspect_model()
{
    ok "dtypes" prints 'AutoencoderKL.* parameters, f16$' inspect "$DFX_MODEL/vae"
    ok "a model's key" prints 'act_fn  *silu  *only silu' inspect "$DFX_MODEL/vae"
    ok "a key without effect" prints 'shift_factor  *null  *ignored: .' inspect "$DFX_MODEL/vae"
    ok "a long list" prints 'down_block_types  *\[3 values\]  *blocks' inspect "$DFX_MODEL/vae"
    ok "model_index.json" prints '^  requires_safety_checker  *false  *ignored: ' \
        inspect "$DFX_MODEL"
    ok "keys of a component" prints '^  hidden_act  *quick_gelu  *the act' inspect "$DFX_MODEL"
    ok "a tokenizer" prints '^  model_max_length  *32  *ids' inspect "$DFX_MODEL/tokenizer"
    ok "keys as JSON" prints '"key": "hidden_act"' inspect --json "$DFX_MODEL"
    mkdir e p
    echo '{"image_processor_type":"CLIPImageProcessor","size":224}' >p/preprocessor_config.json
    ok "an image processor" prints 'size  *224  *ignored: ' inspect p
    ok "a folder without a config" fails 1 ".*e: there is no config" inspect e
}

test_inspect_scheduler()
{
    cat >keys.json <<END
{"_class_name":"EulerDiscreteScheduler","skip_prk_steps":true,"beta_end":0.012,"odd":[1,2],
 "lambda_min_clipped":-Infinity,"timestep_spacing":"leading"}
END
    ok "a key's purpose" prints 'beta_end  *0.012  *beta of the last timestep$' inspect keys.json
    ok "a key that is ignored" prints 'skip_prk_steps  *true  *ignored$' inspect keys.json
    ok "a list that is ignored" prints 'odd  *\[1,2\]  *ignored$' inspect keys.json
    ok "infinity" prints 'lambda_min_clipped  *-Infinity  *ignored$' inspect keys.json
    ok "a key's default" prints 'steps_offset  *0 .*(default)$' inspect keys.json
    ok "keys as JSON" prints '"ignored": true' inspect --json keys.json
    ok "keys of a folder" prints 'shift  *1  *.*(default)$' inspect c
    ok "keys within a model" prints 'steps_offset  *[0-9]' inspect "$DFX_MODEL"
    echo '{"_class_name":"Bogus"}' >bogus.json
    echo '{"_class_name":"DDIMScheduler","eta":1,"beta_end":"x"}' >wrong.json
    echo '{' >broken.json
    ok "an unknown class" fails 1 "bogus.json: .*'Bogus'" inspect bogus.json
    ok "a wrong value" fails 1 "wrong.json: beta_end" inspect wrong.json
    ok "what is no JSON" fails 1 "broken.json:" inspect broken.json
}

# Waits until the run in the background is in its steps, then presses Ctrl-C.
interrupt()
{
    mkdir i
    "$dfx" generate "red apple" --steps 1000 --seed 1 --output i/i.png >/dev/null 2>progress.txt &
    pid=$!
    tries=0
    until grep -q '^step ' progress.txt || test $tries -ge 100; do
        sleep 0.2
        tries=$((tries + 1))
    done
    kill -INT $pid
    wait $pid
    code=$?
    cat progress.txt
    test $code -eq 130
}

test_usage
test_wrong_settings
test_information
test_generate
test_tensors
test_records
test_preview
test_sdxl
test_unconditional
test_rng
test_schedule
test_inspect_model
test_inspect_scheduler
ok "Ctrl-C ends a run with 130" interrupt
ok "and leaves no file, whole or not" empty i
done_testing
