#include "../isa/amx.h"

namespace lc2fer {
namespace {
using Isa = Amx;
}
}  // namespace lc2fer

#include "../variant.h"

namespace lc2fer {

extern const Kernels amx_int8, avx512vnni_int8;

namespace {

// By tiles where the lesser depth, that of the expanding product, fills half of one. The other one is of 32, 64, 96 ..
void block_by_depth(const BlockNumbers& its, const Pool& pool, const float* x, float* out, void* scratch) {
    const bool deep = Isa::Bytes::tile_depth(its.channels) > 0;
    (deep ? block<Isa::Bytes> : avx512vnni_int8.block)(its, pool, x, out, scratch);
}

void downsample_by_depth(const ConvNumbers& its, const Pool& pool, const float* x, float* out) {
    const bool deep = Isa::Bytes::tile_depth(its.kernel * its.kernel * its.channels) > 0;
    (deep ? downsample<Isa::Bytes> : avx512vnni_int8.downsample)(its, pool, x, out);
}

void stem_without_tiles(const ConvNumbers& its, const Pool& pool, const float* image, float* out) {
    avx512vnni_int8.stem(its, pool, image, out);  // its few products are done before a tile could be
}

}  // namespace

const Kernels amx_int8 = {
    KERNELS<Isa::Bytes>.weight_bytes,
    KERNELS<Isa::Bytes>.pack,
    KERNELS<Isa::Bytes>.as_in_the_file,
    KERNELS<Isa::Bytes>.scratch_bytes,
    block_by_depth,
    downsample_by_depth,
    stem_without_tiles,
};

}  // namespace lc2fer
