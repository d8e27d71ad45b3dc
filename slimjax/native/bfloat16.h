// Panels of bfloat16, for CPUs that multiply pairs of them.
//
// A tile holds 16 rows of 16 pairs of bfloat16. Of A a row of the tile is 32 numbers
// along the contraction; of B, row p holds numbers 2p and 2p + 1 of each of 16 columns.
// So a tile of A, its pairs transposed, is a tile of B^T: all packing is one of two
// loads, and perhaps a transpose of 16 x 16 pairs. Two tiles side by side are a panel's
// next 32 steps. Two units multiply them:
//
//   Tiles  Intel AMX, a tile at a time.
//   Dots   AVX512-BF16, 16 sums of pairs at a time.
//
// Elsewhere numbers are rounded and take the way of Float32, which gives the same
// products, since those of bfloat16 are exact in float32. The units take numbers below
// the least normal one, 1.2e-38, for 0.
#pragma once

#include "panels.h"

#if !defined(__AVX512BF16__) || !defined(__AVX512BW__)

namespace slimjax {
using BFloat16 = Vectors<true>;
}

#else

#include <immintrin.h>
#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace slimjax {

constexpr int64_t kTile = 16 * 32;
constexpr int kPairs = 16;  // Along the contraction, in a tile.

struct Dots {
  static constexpr int kGroup = 8;  // Rows of A that are summed at a time.
  struct Session {};

  static void multiply(const bf16* a, const bf16* b, int64_t depth, float* c,
                       int64_t stride, bool add) {
    for (int row = 0; row < kPanel; row += kGroup)
      multiply_group(a + row / 16 * kTile + row % 16 * 32, b, depth, c + row * stride,
                     stride, add);
  }

 private:
  static void multiply_group(const bf16* a, const bf16* b, int64_t depth, float* c,
                             int64_t stride, bool add) {
    __m512 sums[kGroup][2];
    for (int r = 0; r < kGroup; ++r)
      for (int half = 0; half < 2; ++half)
        sums[r][half] = add ? _mm512_loadu_ps(c + r * stride + half * kLanes)
                            : _mm512_setzero_ps();
    for (int64_t k = 0; k < depth; k += 32, a += 2 * kTile, b += 2 * kTile)
#pragma GCC unroll 1
      for (int p = 0; p < kPairs; ++p) {
        const __m512bh left = (__m512bh)_mm512_load_si512(b + 32 * p);
        const __m512bh right = (__m512bh)_mm512_load_si512(b + kTile + 32 * p);
#pragma GCC unroll 8
        for (int r = 0; r < kGroup; ++r) {
          const __m512bh x = spread_pair(a + 32 * r + 2 * p);
          sums[r][0] = _mm512_dpbf16_ps(sums[r][0], x, left);
          sums[r][1] = _mm512_dpbf16_ps(sums[r][1], x, right);
        }
      }
    for (int r = 0; r < kGroup; ++r)
      for (int half = 0; half < 2; ++half)
        _mm512_storeu_ps(c + r * stride + half * kLanes, sums[r][half]);
  }

  static __m512bh spread_pair(const bf16* x) {
    int32_t pair;
    memcpy(&pair, x, 4);
    return (__m512bh)_mm512_set1_epi32(pair);
  }
};

#if defined(__AMX_BF16__)

struct Tiles {
  // Configures the tiles of this thread, and puts back what was there.
  class Session {
   public:
    Session() {
      static const long allowed = syscall(SYS_arch_prctl, 0x1023, 18);
      (void)allowed;
      _tile_storeconfig(before_);
      written();
      alignas(64) uint8_t config[64] = {};
      config[0] = 1;
      for (int tile = 0; tile < 8; ++tile) {
        config[16 + 2 * tile] = 64;  // Bytes a row.
        config[48 + tile] = 16;      // Rows.
      }
      written();
      _tile_loadconfig(config);
    }
    ~Session() {
      if (before_[0])
        _tile_loadconfig(before_);
      else
        _tile_release();
    }
    Session(const Session&) = delete;

   private:
    alignas(64) uint8_t before_[64];
  };

  static void multiply(const bf16* a, const bf16* b, int64_t depth, float* c,
                       int64_t stride, bool add) {
    const int bytes = int(stride * 4);
    written();
    if (add) {
      _tile_loadd(0, c, bytes);
      _tile_loadd(1, c + 16, bytes);
      _tile_loadd(2, c + 16 * stride, bytes);
      _tile_loadd(3, c + 16 * stride + 16, bytes);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    for (int64_t k = 0; k < depth; k += 32, a += 2 * kTile, b += 2 * kTile) {
      _tile_loadd(4, a, 64);
      _tile_loadd(6, b, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, b + kTile, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, a + kTile, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, bytes);
    _tile_stored(1, c + 16, bytes);
    _tile_stored(2, c + 16 * stride, bytes);
    _tile_stored(3, c + 16 * stride + 16, bytes);
  }

 private:
  // GCC's tile instructions do not say which memory they read: stores end here.
  static void written() { asm volatile("" ::: "memory"); }
};

using Unit = Tiles;
#else
using Unit = Dots;
#endif

struct BFloat16 {
  using Number = bf16;
  using Kept = bf16;
  using Session = Unit::Session;
  static constexpr int kDepth = 32;

  template <typename T>
  static T keep(T x) {
    return rounded(x);
  }

  static int64_t panel_numbers(int64_t depth) {
    return kPanel * round_up(depth, kDepth);
  }

  static void pack_rows(View a, int64_t first, int64_t num_rows, int64_t begin,
                        int64_t depth, bf16* out) {
    for (int64_t k = 0; k < depth; k += kDepth)
      for (int half = 0; half < 2; ++half, out += kTile) {
        int64_t rows = num_rows - first - half * 16, steps = depth - k;
        if (a.transposed) {
          load_pairs(a.data + (begin + k) * a.stride + first + half * 16, a.stride,
                     steps, rows, out);
          transpose(out);
        } else {
          load_rows(a.data + (first + half * 16) * a.stride + begin + k, a.stride, rows,
                    steps, out);
        }
      }
  }

  static void pack_columns(View b, int64_t first, int64_t num_columns, int64_t begin,
                           int64_t depth, bf16* out) {
    for (int64_t k = 0; k < depth; k += kDepth)
      for (int half = 0; half < 2; ++half, out += kTile) {
        int64_t columns = num_columns - first - half * 16, steps = depth - k;
        if (b.transposed) {
          load_rows(b.data + (first + half * 16) * b.stride + begin + k, b.stride,
                    columns, steps, out);
          transpose(out);
        } else {
          load_pairs(b.data + (begin + k) * b.stride + first + half * 16, b.stride,
                     steps, columns, out);
        }
      }
  }

  // C [32, 32] = (or +=) A panel x B panel.
  static void multiply(const bf16* a, const bf16* b, int64_t depth, float* c,
                       int64_t stride, bool add, bool) {
    Unit::multiply(a, b, depth, c, stride, add);
  }

 private:
  static __mmask16 first_of(int64_t count) {
    return count <= 0 ? 0 : count >= 16 ? 0xffff : __mmask16((1u << count) - 1);
  }
  static __m512 load(const float* x, int64_t count) {
    return _mm512_maskz_loadu_ps(first_of(count), x);
  }
  static __m512i join(__m512 low, __m512 high) {
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
  }

  // 16 rows of 32 numbers each.
  static void load_rows(const float* x, int64_t stride, int64_t rows, int64_t columns,
                        bf16* out) {
    for (int r = 0; r < 16; ++r) {
      const float* row = x + r * stride;
      __m512i numbers = r < rows
                            ? join(load(row, columns), load(row + 16, columns - 16))
                            : _mm512_setzero_si512();
      _mm512_store_si512(out + 32 * r, numbers);
    }
  }

  // 32 rows of 16 numbers each, rows 2p and 2p + 1 interleaved.
  static void load_pairs(const float* x, int64_t stride, int64_t rows, int64_t columns,
                         bf16* out) {
    const __m512i weave =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                         23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int p = 0; p < 16; ++p) {
      const float* row = x + 2 * p * stride;
      __m512 even = load(row, 2 * p < rows ? columns : 0);
      __m512 odd = load(row + stride, 2 * p + 1 < rows ? columns : 0);
      _mm512_store_si512(out + 32 * p,
                         _mm512_permutexvar_epi16(weave, join(even, odd)));
    }
  }

  // Transposes 16 x 16 pairs in place.
  static void transpose(bf16* tile) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; ++i) r[i] = _mm512_load_si512(tile + 32 * i);
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
      for (int j = 0; j < 2; ++j) {
        r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
        r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
      }
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 2; ++j) {
        t[i + 8 * j] = _mm512_shuffle_i32x4(r[i + 8 * j], r[i + 8 * j + 4], 0x88);
        t[i + 8 * j + 4] = _mm512_shuffle_i32x4(r[i + 8 * j], r[i + 8 * j + 4], 0xdd);
      }
    for (int i = 0; i < 8; ++i) {
      r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
      r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
    for (int i = 0; i < 16; ++i) _mm512_store_si512(tile + 32 * i, r[i]);
  }
};

}  // namespace slimjax

#endif
