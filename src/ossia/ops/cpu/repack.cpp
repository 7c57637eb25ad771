// Puts stored weights into tiles, once, when a model is prepared; ops/tiles.py is the law, byte for
// byte. Plain C++ in loops that compilers vectorise.
#include <math.h>

#include "declare.h"
#include "tiles.h"

namespace ossia::OSSIA_ISA {
namespace {

// To the nearest float16, ties to even; too large becomes infinite.
std::uint16_t half_of(float x) {  // never negative
  if (!(x < 65520)) return 0x7c00;
  if (x < 0x1p-14f) return static_cast<std::uint16_t>(::rintf(x * 0x1p24f));
  auto bits = __builtin_bit_cast(std::uint32_t, x);
  bits += 0xfff + (bits >> 13 & 1);
  return static_cast<std::uint16_t>((bits - (112u << 23)) >> 13);
}

float widen_half(std::uint16_t bits) {
  const std::uint32_t exponent = bits >> 10, fraction = bits & 1023;
  if (exponent == 0) return static_cast<float>(fraction) * 0x1p-24f;
  return float_of((exponent + 112) << 23 | fraction << 13);
}

// One row of one tile: where it comes from, where it goes.
struct Target {
  std::uint8_t* values;  // of the tile
  void* scales;          // of the tile
  std::size_t r;
};

// Four nibbles, one a byte.
std::uint32_t spread(std::uint32_t x) {
  x = (x | x << 8) & 0x00ff00ff;
  return (x | x << 4) & 0x0f0f0f0f;
}

// Sixteen bytes of MXFP4.
void put_packed(const std::uint8_t* block, std::uint8_t scale, const Target& to) {
  for (std::size_t j = 0; j < 4; ++j) {
    std::uint32_t eight;
    __builtin_memcpy(&eight, block + 4 * j, 4);
    const std::uint32_t four = spread(eight & 0xffff) | spread(eight >> 16) << 4;
    __builtin_memcpy(to.values + 64 * j + 4 * to.r, &four, 4);
  }
  static_cast<std::uint8_t*>(to.scales)[to.r] = scale;
}

float largest_of(const float* x) {
  std::uint32_t largest = 0;  // bits of positive floats stand in order, no number above all
  for (std::size_t i = 0; i < kTileBlock; ++i) {
    const std::uint32_t size = __builtin_bit_cast(std::uint32_t, x[i]) & 0x7fffffff;
    largest = size > largest ? size : largest;
  }
  return float_of(largest);
}

bool put_int8(const float* x, const Target& to) {
  const std::uint16_t scale = half_of(largest_of(x) / 127);
  static_cast<std::uint16_t*>(to.scales)[to.r] = scale;
  const float unit = scale ? widen_half(scale) : 1;
  std::int8_t number[kTileBlock];
  for (std::size_t i = 0; i < kTileBlock; ++i) {
    const float whole = ::rintf(x[i] / unit);
    const float cut = whole > 127 ? 127.0f : whole > -127 ? whole : -127.0f;  // a number, always
    number[i] = static_cast<std::int8_t>(static_cast<std::int32_t>(cut));
  }
  for (std::size_t i = 0; i < kTileBlock; i += 4) {
    __builtin_memcpy(to.values + 16 * i + 4 * to.r, number + i, 4);
  }
  return scale < 0x7c00;
}

// Nearest MXFP4 codes of values divided by their scale; a tie goes to the even code.
void codes_of(const float* x, float factor, std::uint8_t* code) {
  for (std::size_t i = 0; i < kTileBlock; ++i) {
    const float unit = x[i] * factor, size = ::fabsf(unit);
    std::int32_t above = 0;  // up from the odd codes 1, 3, 5, down from 0, 2, 4, 6
    above += size > 0.25f;
    above += size >= 0.75f;
    above += size > 1.25f;
    above += size >= 1.75f;
    above += size > 2.5f;
    above += size >= 3.5f;
    above += size > 5.0f;
    const std::int32_t sign = (unit < 0) & (above > 0) ? 8 : 0;
    code[i] = static_cast<std::uint8_t>(above + sign);
  }
}

bool put_rounded(const float* x, const Target& to) {
  const float largest = largest_of(x);
  const bool is_finite = largest < __builtin_inff();
  int exponent = -127;
  if (largest > 0 && is_finite) {
    ::frexpf(largest, &exponent);
    exponent -= 3;
    exponent += largest > 7.25f * ::ldexpf(1.0f, exponent);  // NEAREST_REACH of ops/mxfp4.py
    exponent = exponent < -127 ? -127 : exponent > 127 ? 127 : exponent;
  }
  static_cast<std::uint8_t*>(to.scales)[to.r] = static_cast<std::uint8_t>(exponent + 127);
  std::uint8_t code[kTileBlock];
  codes_of(x, ::ldexpf(1.0f, -exponent), code);
  for (std::size_t j = 0; j < 4; ++j) {
    for (std::size_t k = 0; k < 4; ++k) {
      to.values[64 * j + 4 * to.r + k] =
          static_cast<std::uint8_t>(code[8 * j + k] | code[8 * j + 4 + k] << 4);
    }
  }
  return is_finite;
}

// Columns 32j to 32j + 31 of a row of floats; zeros beyond the last.
template <class Float>
void read_block(const Float* row, std::size_t columns, float* out) {
  if (columns >= kTileBlock) {
    for (std::size_t i = 0; i < kTileBlock; ++i) out[i] = widen(row[i]);
    return;
  }
  for (std::size_t i = 0; i < kTileBlock; ++i) out[i] = i < columns ? widen(row[i]) : 0;
}

void read_block(const Matrix& source, std::size_t row, std::size_t j, float* out) {
  const std::size_t place = row * source.columns + j * kTileBlock;
  const std::size_t columns = source.columns - j * kTileBlock;
  if (source.format == Format::bf16) {
    read_block(static_cast<const bf16*>(source.values) + place, columns, out);
  } else {
    read_block(static_cast<const float*>(source.values) + place, columns, out);
  }
}

// The row of the source that is row r of a group; may be beyond the last.
std::size_t source_row(std::size_t group, std::size_t r, bool gates_and_ups) {
  if (!gates_and_ups) return group * kGroup + r;
  return 2 * (group / 2 * kGroup + r) + group % 2;
}

bool put_row(const Matrix& source, const Matrix& target, std::size_t row, std::size_t group,
             std::size_t r) {
  const std::size_t blocks = target.blocks();
  const bool is_int8 = target.format == Format::tiled_int8;
  const std::size_t tile_bytes = is_int8 ? 512 : 256, scale_bytes = is_int8 ? 32 : 16;
  bool is_finite = true;
  for (std::size_t j = 0; j < blocks; ++j) {
    const std::size_t tile = group * blocks + j;
    // the arrays are the caller's own, just made
    const Target to{
        static_cast<std::uint8_t*>(const_cast<void*>(target.values)) + tile * tile_bytes,
        static_cast<std::uint8_t*>(const_cast<void*>(target.scales)) + tile * scale_bytes, r};
    if (row >= source.rows) {
      const float zeros[kTileBlock] = {};
      if (is_int8) {
        put_int8(zeros, to);
      } else {
        put_packed(reinterpret_cast<const std::uint8_t*>(zeros), 0, to);
      }
    } else if (source.format == Format::mxfp4) {
      const std::size_t block = row * blocks + j;
      put_packed(static_cast<const std::uint8_t*>(source.values) + block * 16,
                 static_cast<const std::uint8_t*>(source.scales)[block], to);
    } else {
      float x[kTileBlock];
      read_block(source, row, j, x);
      is_finite &= is_int8 ? put_int8(x, to) : put_rounded(x, to);
    }
  }
  return is_finite;
}

}  // namespace

void repack(const Repack& job, const Team& team) {
  const std::size_t groups = job.count * job.target.groups;
  for (std::size_t i = team.index; i < groups; i += team.count) {
    const std::size_t n = i / job.target.groups, group = i % job.target.groups;
    const Matrix source = job.source[n], target = job.target[n];
    bool is_finite = true;
    for (std::size_t r = 0; r < kGroup; ++r) {
      const std::size_t row = source_row(group, r, job.gates_and_ups);
      is_finite &= put_row(source, target, row, group, r);
    }
    if (!is_finite) __atomic_store_n(job.is_finite, false, __ATOMIC_RELAXED);
  }
}

}  // namespace ossia::OSSIA_ISA
