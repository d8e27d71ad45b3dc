// Whole products from panels: packing, blocks of C, and sums over blocks of rows.
#pragma once

#include <vector>

#include "bfloat16.h"
#include "parallel.h"

namespace slimjax {

constexpr int64_t kRowPanels = 4,
                  kColumnPanels = 8;  // Of a block of C that stays near.
constexpr int64_t kNear = 512;        // Contraction steps at a time.

// C [height, width] (+)= A panel x B panel; rows of C are `stride` apart.
template <typename Engine>
void multiply_into(const typename Engine::Number* a, const typename Engine::Number* b,
                   int64_t depth, float* c, int64_t stride, int64_t height,
                   int64_t width, bool add, bool transposed) {
  if (height >= kPanel && width >= kPanel) {
    Engine::multiply(a, b, depth, c, stride, add, transposed);
    return;
  }
  alignas(64) float edge[kPanel * kPanel];
  Engine::multiply(a, b, depth, edge, kPanel, false, transposed);
  for (int64_t r = 0; r < std::min<int64_t>(height, kPanel); ++r)
    for (int64_t k = 0; k < std::min<int64_t>(width, kPanel); ++k)
      c[r * stride + k] = (add ? c[r * stride + k] : 0.0f) + edge[r * kPanel + k];
}

// The panels of all columns of B [depth, columns], or of all rows of A [rows, depth],
// the contraction cut into pieces of `kNear` steps.
template <typename Engine>
struct Packed {
  using Number = typename Engine::Number;
  Packed(int64_t lines, int64_t depth)
      : lines(lines),
        depth(depth),
        panels(num_panels(lines)),
        cuts((depth + kNear - 1) / kNear),
        size(Engine::panel_numbers(kNear)),
        data(panels * cuts * size) {}

  // Where the panel's part for contraction steps from `step` on lies.
  Number* slice(int64_t i, int64_t step) {
    return panel(i, step / kNear) + step % kNear * kPanel;
  }
  Number* panel(int64_t i, int64_t cut) { return data + (cut * panels + i) * size; }
  int64_t steps(int64_t cut) const { return std::min(kNear, depth - cut * kNear); }
  int64_t num_tasks() const { return panels * cuts; }

  void pack_rows(View a, int64_t task) {
    int64_t cut = task / panels, i = task % panels;
    Engine::pack_rows(a, i * kPanel, lines, cut * kNear, steps(cut), panel(i, cut));
  }
  void pack_columns(View b, int64_t task) {
    int64_t cut = task / panels, i = task % panels;
    Engine::pack_columns(b, i * kPanel, lines, cut * kNear, steps(cut), panel(i, cut));
  }

  int64_t lines, depth, panels, cuts, size;
  bool transposed = false;  // Of rows: how a panel lies.
  Buffer<Number> data;
};

// Packing as a job: the panels of `view`, as rows of A or as columns of B.
template <typename Engine>
struct Packing {
  Packed<Engine>* to;
  View view;
  bool as_rows;
  int64_t num_tasks() const { return to->num_tasks(); }
  void run(int64_t task) {
    if (as_rows)
      to->pack_rows(view, task);
    else
      to->pack_columns(view, task);
  }
};

// C (+)= A B, both packed with the same cuts.
template <typename Engine>
class BlockedProduct {
 public:
  BlockedProduct(Packed<Engine>& a, Packed<Engine>& b, float* out, bool add)
      : a_(&a), b_(&b), out_(out), add_(add) {}

  int64_t num_tasks() const { return row_blocks() * column_blocks(); }

  void run(int64_t task) {
    typename Engine::Session session;
    const int64_t row = task / column_blocks() * kRowPanels;
    const int64_t column = task % column_blocks() * kColumnPanels;
    const int64_t end_row = std::min(row + kRowPanels, a_->panels);
    const int64_t end_column = std::min(column + kColumnPanels, b_->panels);
    for (int64_t cut = 0; cut < a_->cuts; ++cut)
      for (int64_t j = column; j < end_column; ++j)
        for (int64_t i = row; i < end_row; ++i)
          multiply_into<Engine>(a_->panel(i, cut), b_->panel(j, cut), a_->steps(cut),
                                out_ + (i * b_->lines + j) * kPanel, b_->lines,
                                a_->lines - i * kPanel, b_->lines - j * kPanel,
                                add_ || cut > 0, a_->transposed);
  }

 private:
  int64_t row_blocks() const { return (a_->panels + kRowPanels - 1) / kRowPanels; }
  int64_t column_blocks() const {
    return (b_->panels + kColumnPanels - 1) / kColumnPanels;
  }
  Packed<Engine>*a_, *b_;
  float* out_;
  bool add_;
};

// Runs the tasks of several jobs, one after the other or side by side, as one batch.
template <typename Job>
void run_jobs(ffi::ThreadPool& pool, std::vector<Job>& jobs) {
  int64_t total = 0;
  for (auto& job : jobs) total += job.num_tasks();
  run_tasks(pool, total, [&](int64_t task) {
    size_t i = 0;
    while (task >= jobs[i].num_tasks()) task -= jobs[i++].num_tasks();
    jobs[i].run(task);
  });
}

// Rows that go through together: many, so that the weights pass by seldom, but enough
// blocks for all threads. A power of two, so that no block reaches over the end of a
// piece of `kNear` steps. No result depends on it.
inline int64_t rows_together(const ffi::ThreadPool& pool, int64_t rows) {
  const int64_t each = rows / std::max<int64_t>(1, 2 * pool.num_threads());
  return each >= 8 * kPanel ? 8 * kPanel : each >= 4 * kPanel ? 4 * kPanel : 2 * kPanel;
}

// Rows of A from `first` on, as many as there is room for, in panels.
template <typename Engine>
void pack_rows(Packed<Engine>& to, View a, int64_t first, int64_t rows) {
  View part{a.data + first * a.stride, a.stride};
  to.lines = std::min(to.lines, rows - first);
  for (int64_t cut = 0; cut < to.cuts; ++cut)
    for (int64_t i = 0; i < num_panels(to.lines); ++i)
      Engine::pack_rows(part, i * kPanel, to.lines, cut * kNear, to.steps(cut),
                        to.panel(i, cut));
}

// C [lines of A, 32] = A B_j, C's rows `stride` apart; the last panel is written whole.
template <typename Engine>
void multiply_panel(Packed<Engine>& a, Packed<Engine>& b, int64_t j, float* c,
                    int64_t stride) {
  for (int64_t cut = 0; cut < a.cuts; ++cut)
    for (int64_t i = 0; i < num_panels(a.lines); ++i)
      Engine::multiply(a.panel(i, cut), b.panel(j, cut), a.steps(cut),
                       c + i * kPanel * stride, stride, cut > 0, false);
}

// C [lines, all columns of B] (+)= A B for the contraction steps from `step` on, with A
// [lines, depth] as it lies in memory; `room` is for its panels.
template <typename Engine>
void multiply_part(View a, int64_t lines, int64_t step, int64_t depth,
                   Packed<Engine>& b, typename Engine::Number* room, float* c,
                   bool add) {
  for (int64_t i = 0; i < num_panels(lines); ++i) {
    Engine::pack_rows(a, i * kPanel, lines, 0, depth, room);
    for (int64_t j = 0; j < b.panels; ++j)
      multiply_into<Engine>(room, b.slice(j, step), depth,
                            c + (i * b.lines + j) * kPanel, b.lines, lines - i * kPanel,
                            b.lines - j * kPanel, add, false);
  }
}

}  // namespace slimjax
