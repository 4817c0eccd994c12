#include "trainer/cuda_kernels.hpp"

#include "base/error.hpp"
#include "comm/cuda_check.hpp"
#include "trainer/device_kernels.h"

namespace lockstep::trainer {
namespace {

cudaStream_t stream_of(comm::DeviceStream stream) { return static_cast<cudaStream_t>(stream); }

class CudaKernels final : public DeviceKernels {
 public:
  void squares(const float* values, std::int64_t length, std::int64_t blocks, double* out,
               comm::DeviceStream stream) override {
    comm::check_cuda(launch_squares(values, length, blocks, out, stream_of(stream)),
                     "the kernel of sums of squares");
  }
  void scale(const double* squares, std::int64_t blocks, GradientScale how, float* scale,
             comm::DeviceStream stream) override {
    comm::check_cuda(launch_scale(squares, blocks, how.divisor, how.clip_norm,
                                  how.leaves_out_overflows, scale, stream_of(stream)),
                     "the kernel of the gradients' scale");
  }
  void update(const UpdateNumbers& numbers, const float* scale, float* parameters,
              const float* gradients, float* const* states, ShortCopy shorts, std::int64_t count,
              comm::DeviceStream stream) override {
    LOCKSTEP_EXPECT(count % 4 == 0, "an update of a part of 16 bytes");
    comm::check_cuda(launch_update(numbers, scale, parameters, gradients, states, shorts, count,
                                   stream_of(stream)),
                     "the optimizer's kernel");
  }
  void shorten(const float* values, ShortCopy shorts, std::int64_t count,
               comm::DeviceStream stream) override {
    LOCKSTEP_EXPECT(count % 4 == 0, "short copies of a part of 16 bytes");
    comm::check_cuda(launch_shorten(values, shorts, count, stream_of(stream)),
                     "the kernel of short copies");
  }
  void add_scaled(float* values, const float* changes, float factor, const float* scale,
                  std::int64_t count, comm::DeviceStream stream) override {
    comm::check_cuda(launch_add_scaled(values, changes, factor, scale, count, stream_of(stream)),
                     "the kernel of buffers");
  }
};

}  // namespace

std::unique_ptr<DeviceKernels> cuda_kernels() { return std::make_unique<CudaKernels>(); }

}  // namespace lockstep::trainer
