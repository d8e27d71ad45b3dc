// Products of few rows with weights that were packed once, when they were prepared.
//
// Such products wait for the weights to come from memory, so these are as small as
// their type allows and lie in the order they are read. A panel holds 32 columns; one
// of its steps is 32 groups of 4 bytes, a group being what stands next to each other
// along the contraction:
//
//   Float1  1 number, multiplied and summed in float32.
//   BFloat2 2 numbers, multiplied exactly, summed in float32.
//   Int4    4 numbers of 8 bits, with 128 added to each. The rows become int8 on their
//           way in, each with a scale of its own; sums are exact, scales come last.
//
// All is written for groups; a kind says how two of them are multiplied.
#pragma once

#include <cmath>

#include "crew.h"
#include "vector_math.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace slimjax {

constexpr int kColumns = 32;      // Of a panel.
constexpr int kTileRows = 64;     // That are multiplied with a panel before the next.
constexpr int64_t kShares = 4;    // Tasks for a thread; each reads one stretch of memory.

inline ivec spread_bits(int32_t x) {
  return ivec{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

struct Float1 {
  static constexpr int kGroup = 1;
  using Sum = vec;
  static void add(vec& sum, ivec weights, ivec row) { sum += (vec)weights * (vec)row; }
};

struct BFloat2 {
  static constexpr int kGroup = 2;
  using Sum = vec;
  static void add(vec& sum, ivec weights, ivec row) {
#if defined(__AVX512BF16__)
    sum = (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)weights, (__m512bh)row);
#else
    sum += (vec)(weights << 16) * (vec)(row << 16);
    sum += (vec)(weights & -65536) * (vec)(row & -65536);
#endif
  }
};

struct Int4 {
  static constexpr int kGroup = 4;
  using Sum = ivec;
  static void add(ivec& sum, ivec weights, ivec row) {
#if defined(__AVX512VNNI__)
    sum = (ivec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights, (__m512i)row);
#else
    typedef int16_t shorts __attribute__((vector_size(64), aligned(4)));
    const ivec even = (ivec)((shorts)row << 8 >> 8), odd = (ivec)((shorts)row >> 8);
    sum += multiply_pairs(weights & 0x00ff00ff, even);
    sum += multiply_pairs(weights >> 8 & 0x00ff00ff, odd);
#endif
  }

 private:
  // Multiplies pairs of int16, and adds the two products.
  static ivec multiply_pairs(ivec a, ivec b) {
#if defined(__AVX2__)
    ivec out;
    for (int half = 0; half < 2; ++half)
      ((__m256i*)&out)[half] =
          _mm256_madd_epi16(((__m256i*)&a)[half], ((__m256i*)&b)[half]);
    return out;
#else
    return (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
  }
};

// Weights [depth, columns] in panels [panels, groups, 32, numbers of a group], zeros
// behind both ends, and a scale for each column if they are Int4.
struct Weights {
  const int32_t* data;
  const float* scale;
  int64_t panels, groups;
};

// Rows as the products want them: groups, and for Int4 what makes numbers of sums.
template <typename Kind>
struct Rows {
  Rows(int64_t count, int64_t groups)
      : count(count), groups(groups), data(count * groups), scales(count), sums(count) {}

  void pack(int64_t r, const float* x, int64_t depth) {
    int32_t* out = data + r * groups;
    memset(out, 0, groups * 4);
    if constexpr (Kind::kGroup == 1) memcpy(out, x, depth * 4);
    if constexpr (Kind::kGroup == 2)
      for (int64_t i = 0; i < depth; ++i) ((bf16*)out)[i] = narrow(x[i]);
    if constexpr (Kind::kGroup == 4) pack_int8(r, x, depth, (int8_t*)out);
  }

  // What the sums of row r with 16 columns stand for.
  vec finish(int64_t r, vec sum, const float*) { return sum; }
  vec finish(int64_t r, ivec sum, const float* scale) {
    vec exact = __builtin_convertvector(sum - 128 * sums[r], vec);
    return exact * scales[r] * *(const vec*)scale;
  }

  int64_t count, groups;
  Buffer<int32_t> data;

 private:
  void pack_int8(int64_t r, const float* x, int64_t depth, int8_t* out) {
    float most = 0.0f;
    for (int64_t i = 0; i < depth; ++i)
      most = std::fabs(x[i]) > most ? std::fabs(x[i]) : most;
    const float steps = most > 0.0f ? 127.0f / most : 0.0f, magic = 12582912.0f;
    int32_t sum = 0;
    for (int64_t i = 0; i < depth; ++i) {
      const int32_t number = int32_t(x[i] * steps + magic - magic);
      out[i] = int8_t(number);
      sum += number;
    }
    scales[r] = most / 127.0f;
    sums[r] = sum;
  }

  Buffer<float> scales;
  Buffer<int32_t> sums;
};

// tile [R, 32] = rows [first, first + R) x panel.
template <typename Kind, int R>
void multiply_block(Rows<Kind>& rows, int64_t first, const int32_t* panel,
                    const float* scale, float* tile) {
  constexpr int kChains = R >= 4 ? 1 : 4 / R;  // Sums enough to hide how long one takes.
  typename Kind::Sum sums[kChains][R][2] = {};
  const int32_t* row = rows.data + first * rows.groups;
  for (int64_t g = 0; g < rows.groups; g += kChains)
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain, panel += kColumns) {
      const ivec left = *(const ivec*)panel, right = *(const ivec*)(panel + kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const ivec x = spread_bits(row[r * rows.groups + g + chain]);
        Kind::add(sums[chain][r][0], left, x);
        Kind::add(sums[chain][r][1], right, x);
      }
    }
  for (int r = 0; r < R; ++r)
    for (int half = 0; half < 2; ++half) {
      auto sum = sums[0][r][half];
      for (int chain = 1; chain < kChains; ++chain) sum += sums[chain][r][half];
      *(vec*)(tile + r * kColumns + half * kLanes) =
          rows.finish(first + r, sum, scale + half * kLanes);
    }
}

template <typename Kind>
void multiply_rows(Rows<Kind>& rows, int64_t first, int64_t count,
                   const int32_t* panel, const float* scale, float* tile) {
  auto take = [&](auto block, int64_t size) {
    for (; count >= size; first += size, count -= size, tile += size * kColumns)
      block(rows, first, panel, scale, tile);
  };
  take(multiply_block<Kind, 8>, 8);
  take(multiply_block<Kind, 4>, 4);
  take(multiply_block<Kind, 2>, 2);
  take(multiply_block<Kind, 1>, 1);
}

// Calls write(row, panel, 32 numbers) for all of rows x weights.
template <typename Kind, typename Write>
void product(Crew& crew, Rows<Kind>& rows, const Weights& weights, const Write& write) {
  const int64_t blocks = (rows.count + kTileRows - 1) / kTileRows;
  const int64_t tiles = weights.panels * blocks, shares = kShares * crew.num_threads();
  const int64_t together = std::max<int64_t>(1, tiles / shares);
  crew.run((tiles + together - 1) / together, [&](int64_t task) {
    const int64_t end = std::min(tiles, (task + 1) * together);
    for (int64_t i = task * together; i < end; ++i) {
      const int64_t panel = i / blocks, first = i % blocks * kTileRows;
      const int64_t count = std::min<int64_t>(kTileRows, rows.count - first);
      alignas(64) float tile[kTileRows * kColumns];
      multiply_rows(rows, first, count, weights.data + panel * weights.groups * kColumns,
                    weights.scale + panel * kColumns, tile);
      for (int64_t r = 0; r < count; ++r) write(first + r, panel, tile + r * kColumns);
    }
  });
}

}  // namespace slimjax
