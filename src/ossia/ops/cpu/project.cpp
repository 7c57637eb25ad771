// Everything that reads dense weights: embedding, the attention's projections, the output head.
#include <math.h>

#include "declare.h"
#include "matmul.h"

namespace ossia::OSSIA_ISA {
namespace {

// out[t, row] = total + bias[row]
void project(const Matrix& weight, const float* bias, const float* x, float* out, std::size_t T,
             const Team& team) {
  const std::size_t columns = weight.columns, width = weight.rows;
  multiply(
      weight, share(width, 8, team), T, [=](std::size_t t) { return x + t * columns; },
      [=](std::size_t row, std::size_t rows, std::size_t token, std::size_t tokens,
          const float (*total)[kTileRows]) {
        for (std::size_t t = 0; t < tokens; ++t) {
          float* to = out + (token + t) * width + row;
          for (std::size_t r = 0; r < rows; ++r) to[r] = total[t][r] + (bias ? bias[row + r] : 0);
        }
      });
}

void rotate(float* x, std::size_t heads, std::size_t C, const float* cosine, const float* sine) {
  const std::size_t half = C / 2;
  for (std::size_t h = 0; h < heads; ++h, x += C) {
    for (std::size_t i = 0; i < half; ++i) {
      const float left = x[i], right = x[i + half];
      x[i] = left * cosine[i] - right * sine[i];
      x[i + half] = right * cosine[i] + left * sine[i];
    }
  }
}

}  // namespace

void embed(const Embed& job, const Team& team) {
  const std::size_t D = job.table_VD.columns;
  const Range mine = share(job.T, 1, team);
  for (std::size_t t = mine.first; t < mine.last; ++t) {
    const std::size_t row = static_cast<std::size_t>(job.id_T[t]);
    for (std::size_t d = 0; d < D; ++d) job.out_TD[t * D + d] = at(job.table_VD, row, d);
  }
}

void project_qkv(const ProjectQkv& job, const Team& team) {
  const std::size_t D = job.D, C = job.C, half = C / 2;
  const std::size_t E = job.query_ED.rows, X = job.key_XD.rows;
  const Range mine = share(job.T, 1, team);
  for (std::size_t t = mine.first; t < mine.last; ++t) {
    rms_norm(job.hidden_TD + t * D, job.norm_D, job.eps, job.normed_TD + t * D, D);
  }
  team.meet();
  project(job.query_ED, job.query_bias_E, job.normed_TD, job.query_TE, job.T, team);
  project(job.key_XD, job.key_bias_X, job.normed_TD, job.key_TX, job.T, team);
  project(job.value_XD, job.value_bias_X, job.normed_TD, job.value_TX, job.T, team);
  team.meet();
  for (std::size_t t = mine.first; t < mine.last; ++t) {
    float* cosine = job.turn_TC + t * C;
    float* sine = cosine + half;
    for (std::size_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(job.position_T[t]) * job.frequency[i];
      cosine[i] = ::cosf(angle) * job.rope_scale;
      sine[i] = ::sinf(angle) * job.rope_scale;
    }
    rotate(job.query_TE + t * E, E / C, C, cosine, sine);
    rotate(job.key_TX + t * X, X / C, C, cosine, sine);
  }
}

void project_out(const ProjectOut& job, const Team& team) {
  const std::size_t D = job.weight_DE.rows, E = job.weight_DE.columns;
  multiply(
      job.weight_DE, share(D, 8, team), job.T, [&](std::size_t t) { return job.mixed_TE + t * E; },
      [&](std::size_t row, std::size_t rows, std::size_t token, std::size_t tokens,
          const float (*total)[kTileRows]) {
        for (std::size_t t = 0; t < tokens; ++t) {
          const std::size_t place = (token + t) * D + row;
          for (std::size_t r = 0; r < rows; ++r) {
            job.out_TD[place + r] = job.hidden_TD[place + r] + (total[t][r] + job.bias_D[row + r]);
          }
        }
      });
}

void unembed(const Unembed& job, const Team& team) {
  const Range mine = share(job.R, 1, team);
  for (std::size_t r = mine.first; r < mine.last; ++r) {
    const float* hidden = job.hidden_TD + static_cast<std::size_t>(job.row_R[r]) * job.D;
    rms_norm(hidden, job.norm_D, job.eps, job.normed_RD + r * job.D, job.D);
  }
  team.meet();
  project(job.head_VD, nullptr, job.normed_RD, job.logits_RV, job.R, team);
}

}  // namespace ossia::OSSIA_ISA
