// Panels: operands of matrix products, packed so that the innermost loop only streams.
//
// A product C = A B is cut into blocks of 32 x 32 numbers of C. A panel holds 32 rows
// of A, or 32 columns of B, along the whole contraction, padded with zeros. Sums are
// taken in float32. Two kinds of operands:
//
//   Float32   any CPU; GCC's vector types become whatever the CPU has.
//   BFloat16  see bfloat16.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace slimjax {

using bf16 = uint16_t;
typedef float vec __attribute__((vector_size(64), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(64), aligned(4)));
typedef uint32_t uvec __attribute__((vector_size(64), aligned(4)));
typedef bf16 narrow_vec __attribute__((vector_size(32), aligned(2)));
constexpr int kLanes = 16;
constexpr int kPanel = 32;  // Rows of A, or columns of B, in a panel.

inline vec spread(float x) {
  return vec{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

inline int64_t round_up(int64_t size, int64_t multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

inline int64_t num_panels(int64_t size) { return (size + kPanel - 1) / kPanel; }

inline float widen(bf16 x) {
  uint32_t bits = uint32_t(x) << 16;
  float out;
  memcpy(&out, &bits, 4);
  return out;
}

inline bf16 narrow(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffff) > 0x7f800000) return bf16(bits >> 16 | 0x40);  // NaN stays.
  return bf16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // To nearest, ties to even.
}

inline float rounded(float x) { return widen(narrow(x)); }

inline vec rounded(vec x) {
  const uvec bits = (uvec)x;
  return (vec)((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000);
}

// 16 numbers from memory, and to it; bfloat16 takes half the room.
inline vec load(const float* x) { return *(const vec*)x; }
inline vec load(const bf16* x) {
  return (vec)(__builtin_convertvector(*(const narrow_vec*)x, ivec) << 16);
}
inline void store(vec x, float* to) { *(vec*)to = x; }
inline void store(vec x, bf16* to) {
  *(narrow_vec*)to = __builtin_convertvector((uvec)rounded(x) >> 16, narrow_vec);
}

// A matrix in memory; `transposed` reads it with rows and columns swapped.
struct View {
  const float* data;
  int64_t stride;  // From one row in memory to the next.
  bool transposed = false;
};

// ---------------------------------------------------------------------------- Float32
template <bool round>
struct Vectors {
  using Number = float;
  using Kept = std::conditional_t<round, bf16, float>;  // For the gradient.
  static constexpr int kGroup = 8;  // Rows of A that are summed at a time.

  static int64_t panel_numbers(int64_t depth) { return kPanel * depth; }
  struct Session {};

  template <typename T>
  static T keep(T x) {
    return round ? rounded(x) : x;
  }

  // A panel of rows lies as A does, [32][depth] or, transposed, [depth][32]: to read
  // one number for all lanes is as fast either way.
  static void pack_rows(View a, int64_t first, int64_t num_rows, int64_t begin,
                        int64_t depth, float* out) {
    if (a.transposed)
      copy(a.data + begin * a.stride + first, a.stride, depth, num_rows - first, depth,
           kPanel, out);
    else
      copy(a.data + first * a.stride + begin, a.stride, num_rows - first, depth, kPanel,
           depth, out);
  }

  // A panel of columns is [depth][32].
  static void pack_columns(View b, int64_t first, int64_t num_columns, int64_t begin,
                           int64_t depth, float* out) {
    if (!b.transposed) {
      copy(b.data + begin * b.stride + first, b.stride, depth, num_columns - first,
           depth, kPanel, out);
      return;
    }
    for (int64_t c = 0; c < kPanel; ++c) {
      const float* from = b.data + (first + c) * b.stride + begin;
      for (int64_t k = 0; k < depth; ++k)
        out[k * kPanel + c] = first + c < num_columns ? keep(from[k]) : 0.0f;
    }
  }

  // C [32, 32] = (or +=) A panel x B panel.
  static void multiply(const float* a, const float* b, int64_t depth, float* c,
                       int64_t stride, bool add, bool transposed) {
    const int64_t row = transposed ? 1 : depth, step = transposed ? kPanel : 1;
    for (int group = 0; group < kPanel; group += kGroup) {
      const float* rows = a + group * row;
      float* out = c + group * stride;
      vec sums[kGroup][2];
      for (int r = 0; r < kGroup; ++r)
        for (int half = 0; half < 2; ++half)
          sums[r][half] = add ? *(vec*)(out + r * stride + half * kLanes) : vec{};
      for (int64_t k = 0; k < depth; ++k) {
        vec left = *(const vec*)(b + k * kPanel);
        vec right = *(const vec*)(b + k * kPanel + kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < kGroup; ++r) {
          vec x = spread(rows[r * row + k * step]);
          sums[r][0] += left * x;
          sums[r][1] += right * x;
        }
      }
      for (int r = 0; r < kGroup; ++r)
        for (int half = 0; half < 2; ++half)
          *(vec*)(out + r * stride + half * kLanes) = sums[r][half];
    }
  }

 private:
  // Copies [rows, columns] of x into [padded_rows, padded_columns], zeros behind.
  static void copy(const float* x, int64_t stride, int64_t rows, int64_t columns,
                   int64_t padded_rows, int64_t padded_columns, float* out) {
    rows = std::min(rows, padded_rows), columns = std::min(columns, padded_columns);
    for (int64_t r = 0; r < padded_rows; ++r, x += stride, out += padded_columns) {
      int64_t count = r < rows ? columns : 0;
      for (int64_t c = 0; c < count; ++c) out[c] = keep(x[c]);
      for (int64_t c = count; c < padded_columns; ++c) out[c] = 0.0f;
    }
  }
};

using Float32 = Vectors<false>;

}  // namespace slimjax
