// The kernels as operations of OpenVINO.
#include "kernels.h"

#include <memory>
#include <string>
#include <utility>

#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/op/op.hpp>

namespace lc2fer {

// What the three have in common: constants of fixed shapes behind one float32 input, which gives the output's shape,
// and a precision, that of the products.
class Operation : public ov::op::Op {
public:
    Operation() = default;
    Operation(const ov::OutputVector& arguments, std::string precision)
        : Op(arguments), m_precision(std::move(precision)) {}

    bool has_evaluate() const override { return get_input_element_type(0) == ov::element::f32; }

    bool visit_attributes(ov::AttributeVisitor& visitor) override {
        visitor.on_attribute("precision", m_precision);
        return true;
    }

protected:
    std::string m_precision = "int8";

    // function(Format)
    template <class Function>
    void in_format(const Function& function) const {
        if (m_precision == "int8") return function(Bytes{});
        if (m_precision == "bf16") return function(Halves{});
        NODE_VALIDATION_CHECK(this, m_precision == "fp32", "int8, bf16 or fp32 was expected, not ", m_precision);
        function(Floats{});
    }

    ov::Shape weights(size_t outputs, size_t depth) const {
        size_t steps = 0;
        in_format([&](auto format) { steps = depth / format.STEP; });
        return {padded(int(outputs)) / size_t(LANES), steps, LANES, 4};
    }

    struct Expected {
        ov::element::Type type;
        ov::Shape shape;
    };

    ov::Shape image() const {
        const auto& shape = get_input_partial_shape(0);
        NODE_VALIDATION_CHECK(this, shape.is_static() && shape.size() == 4 && shape[0] == 1,
                              "the input has to be [1,.,.,.]");
        return shape.to_shape();
    }

    void expect(const std::vector<Expected>& constants) const {
        NODE_VALIDATION_CHECK(this, get_input_size() == constants.size() + 1, constants.size(),
                              " constants were expected");
        for (size_t i = 0; i < constants.size(); ++i) {
            const auto& [type, shape] = constants[i];
            NODE_VALIDATION_CHECK(this, get_input_shape(i + 1) == shape && get_input_element_type(i + 1) == type,
                                  "input ", i + 1, " has to be ", type, shape);
        }
    }
};

class Block : public Operation {
public:
    OPENVINO_OP("Block", "lc2fer");

    Block() = default;
    Block(const ov::OutputVector& arguments, const std::string& precision, float inverse_step)
        : Operation(arguments, precision), m_inverse_step(inverse_step) {
        constructor_validate_and_infer_types();
    }

    void validate_and_infer_types() override {
        const ov::Shape shape = image();
        const size_t channels = shape[3], wide = 4 * channels, stride = padded(int(channels));
        NODE_VALIDATION_CHECK(this, channels <= MOST_CHANNELS && channels % 8 == 0,
                              "8, 16, 24 .. 512 channels were expected");
        expect({{ov::element::f32, {TAPS + 1, stride}},
                {ov::element::u8, weights(wide, channels)},
                {ov::element::f32, {2, wide}},
                {ov::element::f32, {2, wide}},
                {ov::element::u8, weights(channels, wide)},
                {ov::element::f32, {2, stride}}});
        set_output_type(0, ov::element::f32, shape);
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& arguments) const override {
        return std::make_shared<Block>(arguments, m_precision, m_inverse_step);
    }

    bool visit_attributes(ov::AttributeVisitor& visitor) override {
        visitor.on_attribute("inverse_step", m_inverse_step);
        return Operation::visit_attributes(visitor);
    }

    bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override {
        const ov::Shape& shape = inputs[0].get_shape();
        const int channels = int(shape[3]);
        const BlockNumbers numbers{int(shape[1]),
                                   int(shape[2]),
                                   channels,
                                   4 * channels,
                                   m_inverse_step,
                                   inputs[1].data<const float>(),
                                   inputs[2].data<const uint8_t>(),
                                   inputs[3].data<const float>(),
                                   inputs[4].data<const float>(),
                                   inputs[5].data<const uint8_t>(),
                                   inputs[6].data<const float>()};
        in_format([&](auto format) {
            run_block<decltype(format)>(numbers, inputs[0].data<const float>(), outputs[0].data<float>());
        });
        return true;
    }

private:
    float m_inverse_step = 1.0f;
};

class Downsample : public Operation {
public:
    OPENVINO_OP("Downsample", "lc2fer");

    Downsample() = default;
    Downsample(const ov::OutputVector& arguments, const std::string& precision, float inverse_step, int64_t kernel,
               int64_t outputs)
        : Operation(arguments, precision), m_inverse_step(inverse_step), m_kernel(kernel), m_outputs(outputs) {
        constructor_validate_and_infer_types();
    }

    void validate_and_infer_types() override {
        const ov::Shape shape = image();
        const size_t kernel = m_kernel, taps = kernel * kernel, outputs = m_outputs, stride = padded(int(m_outputs));
        NODE_VALIDATION_CHECK(this, m_kernel >= 1 && taps <= MOST_TAPS && shape[1] >= kernel && shape[2] >= kernel,
                              "a kernel of 1 to 3, and an image not smaller, were expected");
        NODE_VALIDATION_CHECK(this, shape[3] <= MOST_CHANNELS / 2 && shape[3] % 8 == 0,
                              "8, 16 .. 256 channels were expected");
        expect({{ov::element::u8, weights(outputs, taps * shape[3])}, {ov::element::f32, {2, stride}}});
        set_output_type(0, ov::element::f32, ov::Shape{1, shape[1] / kernel, shape[2] / kernel, outputs});
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& arguments) const override {
        return std::make_shared<Downsample>(arguments, m_precision, m_inverse_step, m_kernel, m_outputs);
    }

    bool visit_attributes(ov::AttributeVisitor& visitor) override {
        visitor.on_attribute("inverse_step", m_inverse_step);
        visitor.on_attribute("kernel", m_kernel);
        visitor.on_attribute("outputs", m_outputs);
        return Operation::visit_attributes(visitor);
    }

    bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override {
        const ov::Shape& shape = inputs[0].get_shape();
        const int kernel = int(m_kernel);
        const ConvNumbers numbers{int(shape[1]),
                                  int(shape[2]),
                                  int(shape[3]),
                                  kernel,
                                  kernel,
                                  int(m_outputs),
                                  m_inverse_step,
                                  inputs[1].data<const uint8_t>(),
                                  inputs[2].data<const float>()};
        in_format([&](auto format) {
            run_downsample<decltype(format)>(numbers, inputs[0].data<const float>(), outputs[0].data<float>());
        });
        return true;
    }

private:
    float m_inverse_step = 1.0f;
    int64_t m_kernel = 2, m_outputs = 8;
};

class Stem : public Operation {
public:
    OPENVINO_OP("Stem", "lc2fer");

    Stem() = default;
    Stem(const ov::OutputVector& arguments, const std::string& precision, int64_t stride, int64_t outputs)
        : Operation(arguments, precision), m_stride(stride), m_outputs(outputs) {
        constructor_validate_and_infer_types();
    }

    void validate_and_infer_types() override {
        const ov::Shape shape = image();
        const size_t outputs = m_outputs, width = padded(int(m_outputs));
        NODE_VALIDATION_CHECK(this,
                              shape[1] == 3 && shape[2] >= STEM_KERNEL && shape[3] >= STEM_KERNEL && m_stride >= 1,
                              "an image of three colours and at least 4 x 4 pixels was expected");
        expect({{ov::element::u8, weights(outputs, 3 * STEM_KERNEL * STEM_KERNEL)}, {ov::element::f32, {4, width}}});
        const auto side = [&](size_t size) { return (size - STEM_KERNEL) / size_t(m_stride) + 1; };
        set_output_type(0, ov::element::f32, ov::Shape{1, side(shape[2]), side(shape[3]), outputs});
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& arguments) const override {
        return std::make_shared<Stem>(arguments, m_precision, m_stride, m_outputs);
    }

    bool visit_attributes(ov::AttributeVisitor& visitor) override {
        visitor.on_attribute("stride", m_stride);
        visitor.on_attribute("outputs", m_outputs);
        return Operation::visit_attributes(visitor);
    }

    bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override {
        const ov::Shape& shape = inputs[0].get_shape();
        const ConvNumbers numbers{int(shape[2]),
                                  int(shape[3]),
                                  3,
                                  STEM_KERNEL,
                                  int(m_stride),
                                  int(m_outputs),
                                  1.0f,
                                  inputs[1].data<const uint8_t>(),
                                  inputs[2].data<const float>()};
        in_format([&](auto format) {
            run_stem<decltype(format)>(numbers, inputs[0].data<const float>(), outputs[0].data<float>());
        });
        return true;
    }

private:
    int64_t m_stride = 2, m_outputs = 8;
};

}  // namespace lc2fer

OPENVINO_CREATE_EXTENSIONS(std::vector<ov::Extension::Ptr>({
    std::make_shared<ov::OpExtension<lc2fer::Stem>>(),
    std::make_shared<ov::OpExtension<lc2fer::Block>>(),
    std::make_shared<ov::OpExtension<lc2fer::Downsample>>(),
}));
