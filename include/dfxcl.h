/* dfxcl.h - everything of libdfxcl: diffusion models on OpenCL devices and on the CPU. */
#ifndef DFXCL_H
#define DFXCL_H

#include "dfxcl/base.h"
#include "dfxcl/bench.h"
#include "dfxcl/checkpoint.h"
#include "dfxcl/config.h"
#include "dfxcl/convert.h"
#include "dfxcl/device.h"
#include "dfxcl/image.h"
#include "dfxcl/model.h"
#include "dfxcl/op.h"
#include "dfxcl/pipeline.h"
#include "dfxcl/rng.h"
#include "dfxcl/scheduler.h"
#include "dfxcl/selftest.h"
#include "dfxcl/sequence.h"
#include "dfxcl/tensors.h"
#include "dfxcl/tokenizer.h"
#include "dfxcl/tune.h"

#endif
