// The kernels as operations of ONNX Runtime.
#include "operations.h"

#include <algorithm>
#include <cstddef>

namespace lc2fer {

// What is used here of ONNX Runtime's C interface (onnxruntime_c_api.h, version 17; of an operation 18), whose headers
// pip does not install. Its table of functions and its struct for an operation grow at their ends alone.
using Any = void*;  // a pointer to one of its own structs; a status is null where all is well
enum Type { FLOAT32 = 1, UINT8 = 2 };
constexpr int FAIL = 1, INVALID_ARGUMENT = 2;
constexpr uint32_t API_VERSION = 17, OPERATION_VERSION = 18;

struct CustomOp;

struct Api {
    Any (*CreateStatus)(int code, const char* message);  // 0
    Any unused_1[25];
    Any (*CreateCustomOpDomain)(const char* name, Any* domain);  // 26
    Any (*CustomOpDomain_Add)(Any domain, const CustomOp* operation);
    Any (*AddCustomOpDomain)(Any options, Any domain);
    Any unused_29[22];
    Any (*GetTensorMutableData)(Any value, void** data);  // 51
    Any unused_52[3];
    Any (*CastTypeInfoToTensorInfo)(Any type_info, Any* tensor_info);  // 55
    Any unused_56[5];
    Any (*GetDimensionsCount)(Any tensor_info, size_t* count);  // 61
    Any (*GetDimensions)(Any tensor_info, int64_t* dimensions, size_t count);
    Any unused_63[2];
    Any (*GetTensorTypeAndShape)(Any value, Any* tensor_info);  // 65
    Any unused_66[19];
    Any (*KernelInfoGetAttribute_float)(Any kernel_info, const char* name, float* value);  // 85
    Any (*KernelInfoGetAttribute_int64)(Any kernel_info, const char* name, int64_t* value);
    Any (*KernelInfoGetAttribute_string)(Any kernel_info, const char* name, char* value, size_t* size);
    Any unused_88[2];
    Any (*KernelContext_GetInput)(Any context, size_t index, Any* value);  // 90
    Any (*KernelContext_GetOutput)(Any context, size_t index, const int64_t* shape, size_t rank, Any* value);
    Any unused_92;
    void (*ReleaseStatus)(Any status);  // 93
    Any unused_94[4];
    void (*ReleaseTypeInfo)(Any type_info);  // 98
    void (*ReleaseTensorTypeAndShapeInfo)(Any tensor_info);
    Any unused_100[134];
    Any (*KernelInfo_GetInputTypeInfo)(Any kernel_info, size_t index, Any* type_info);  // 234
    Any unused_235[14];
    Any (*KernelInfoGetConstantInput_tensor)(Any kernel_info, size_t index, int* constant, Any* value);  // 249
    Any unused_250[24];
    Any (*KernelContext_ParallelFor)(Any context, void (*call)(void*, size_t), size_t count, size_t batches,
                                     void*);  // 274
};
static_assert(offsetof(Api, KernelContext_ParallelFor) == 274 * sizeof(Any));

struct ApiBase {
    const Api* (*GetApi)(uint32_t version);
};

struct CustomOp {
    uint32_t version;
    void* (*CreateKernel)(const CustomOp*, const Api*, Any);
    const char* (*GetName)(const CustomOp*);
    const char* (*GetExecutionProviderType)(const CustomOp*);
    Type (*GetInputType)(const CustomOp*, size_t);
    size_t (*GetInputTypeCount)(const CustomOp*);
    Type (*GetOutputType)(const CustomOp*, size_t);
    size_t (*GetOutputTypeCount)(const CustomOp*);
    void (*KernelCompute)(void*, Any);
    void (*KernelDestroy)(void*);
    int (*GetInputCharacteristic)(const CustomOp*, size_t);
    int (*GetOutputCharacteristic)(const CustomOp*, size_t);
    int (*GetInputMemoryType)(const CustomOp*, size_t);
    int (*GetVariadicInputMinArity)(const CustomOp*);
    int (*GetVariadicInputHomogeneity)(const CustomOp*);
    int (*GetVariadicOutputMinArity)(const CustomOp*);
    int (*GetVariadicOutputHomogeneity)(const CustomOp*);
    Any (*CreateKernelV2)(const CustomOp*, const Api*, Any kernel_info, void** kernel);
    Any (*KernelComputeV2)(void* kernel, Any context);
    Any unused[3];
    size_t (*GetMayInplace)(int** inputs, int** outputs);
    void (*ReleaseMayInplace)(int* inputs, int* outputs);
    Any more_unused[2];
};

struct Refused {
    Any status;
};
inline void check(Any status) {
    if (status != nullptr) throw Refused{status};
}

// Exceptions end where ONNX Runtime's C begins.
template <class Function>
Any status_of(const Api* api, const Function& function) {
    try {
        function();
        return nullptr;
    } catch (const Refused& refused) {
        return refused.status;
    } catch (const std::invalid_argument& error) {
        return api->CreateStatus(INVALID_ARGUMENT, error.what());
    } catch (const std::exception& error) {
        return api->CreateStatus(FAIL, error.what());
    }
}

inline Shape shape_of(const Api* api, Any tensor_info) {
    size_t rank = 0;
    check(api->GetDimensionsCount(tensor_info, &rank));
    std::vector<int64_t> dimensions(rank);
    check(api->GetDimensions(tensor_info, dimensions.data(), rank));
    return Shape(dimensions.begin(), dimensions.end());  // an open side, -1, becomes one that is too large
}

// ONNX Runtime's own threads: it shares the parts among as many as the session was given.
struct Threads {
    const Api* api;
    Any context;

    Pool pool() { return {this, run}; }

private:
    static void run(void* threads, void (*part)(void*, int), void* argument, int count) {
        struct Call {
            void (*part)(void*, int);
            void* argument;
        } call{part, argument};
        const auto of_part = [](void* its, size_t number) {
            const Call& own = *static_cast<const Call*>(its);
            own.part(own.argument, int(number));
        };
        const Threads& its = *static_cast<const Threads*>(threads);
        check(its.api->KernelContext_ParallelFor(its.context, of_part, size_t(count), 0, &call));
    }
};

template <class Kind>
class Kernel {
public:
    Kernel(const Api* api, Any info) : m_api(api) {
        Any status = api->KernelInfoGetAttribute_int64(info, "version", &m_its.version);
        if (status != nullptr) api->ReleaseStatus(status);  // a file of the first version, which checked() refuses
        Kind::visit(m_its, [&](const char* name, auto& value) { read(info, name, value); });
        std::vector<Shape> shapes;
        for (size_t i = 0; i < m_constants.size(); ++i) {
            int constant = 0;
            Any value = nullptr, its = nullptr;
            check(api->KernelInfoGetConstantInput_tensor(info, i + 1, &constant, &value));
            demand(constant != 0, "a constant behind the image");
            check(api->GetTensorTypeAndShape(value, &its));
            shapes.push_back(shape_of(api, its));
            api->ReleaseTensorTypeAndShapeInfo(its);
            void* data = nullptr;
            check(api->GetTensorMutableData(value, &data));
            m_constants[i] = data;
        }
        Any type = nullptr, its = nullptr;
        check(api->KernelInfo_GetInputTypeInfo(info, 0, &type));
        check(api->CastTypeInfoToTensorInfo(type, &its));
        m_image = shape_of(api, its);
        api->ReleaseTypeInfo(type);
        const Shape output = checked<Kind>(m_its, m_image, shapes);
        m_output.assign(output.begin(), output.end());
        m_made = floats_of_one(output);
        m_kind.prepare(m_its, m_image, m_constants);
    }

    void run(Any context) const {
        Any image = nullptr, its = nullptr, output = nullptr;
        check(m_api->KernelContext_GetInput(context, 0, &image));
        check(m_api->GetTensorTypeAndShape(image, &its));
        const Shape shape = shape_of(m_api, its);
        m_api->ReleaseTensorTypeAndShapeInfo(its);
        demand(shape.size() == 4 && std::equal(shape.begin() + 1, shape.end(), m_image.begin() + 1),
               "images of the graph's shape");
        std::array<int64_t, 4> made{int64_t(shape[0]), m_output[1], m_output[2], m_output[3]};
        check(m_api->KernelContext_GetOutput(context, 0, made.data(), made.size(), &output));
        void *x = nullptr, *out = nullptr;
        check(m_api->GetTensorMutableData(image, &x));
        check(m_api->GetTensorMutableData(output, &out));
        Threads threads{m_api, context};
        // How many threads there are, ONNX Runtime does not tell: of several images each has one.
        run_images(m_kind, threads.pool(), shape[0] > 1, shape[0], static_cast<const float*>(x), floats_of_one(shape),
                   static_cast<float*>(out), m_made);
    }

    const Api* api() const { return m_api; }

private:
    void read(Any info, const char* name, float& value) const {
        check(m_api->KernelInfoGetAttribute_float(info, name, &value));
    }
    void read(Any info, const char* name, int64_t& value) const {
        check(m_api->KernelInfoGetAttribute_int64(info, name, &value));
    }
    void read(Any info, const char* name, std::string& value) const {
        char text[16];
        size_t size = sizeof text;
        check(m_api->KernelInfoGetAttribute_string(info, name, text, &size));
        value = text;
    }

    const Api* m_api;
    Attributes m_its;
    Kind m_kind;
    Shape m_image;  // its first axis counts for nothing
    std::vector<int64_t> m_output;
    size_t m_made;  // floats an image
    std::array<const void*, Kind::BYTES.size()> m_constants;
};

template <class Kind>
const CustomOp* operation() {
    static const CustomOp its = [] {
        CustomOp op{};
        op.version = OPERATION_VERSION;
        op.GetName = [](const CustomOp*) { return Kind::NAME; };
        op.GetExecutionProviderType = [](const CustomOp*) { return "CPUExecutionProvider"; };
        op.GetInputType = [](const CustomOp*, size_t i) { return i > 0 && Kind::BYTES[i - 1] ? UINT8 : FLOAT32; };
        op.GetInputTypeCount = [](const CustomOp*) { return Kind::BYTES.size() + 1; };
        op.GetOutputType = [](const CustomOp*, size_t) { return FLOAT32; };
        op.GetOutputTypeCount = [](const CustomOp*) { return size_t(1); };
        op.GetInputCharacteristic = op.GetOutputCharacteristic = [](const CustomOp*, size_t) { return 0; };  // required
        op.GetInputMemoryType = [](const CustomOp*, size_t) { return 0; };                                   // default
        op.CreateKernelV2 = [](const CustomOp*, const Api* api, Any info, void** kernel) {
            return status_of(api, [&] { *kernel = new Kernel<Kind>(api, info); });
        };
        op.KernelComputeV2 = [](void* kernel, Any context) {
            const auto* its = static_cast<const Kernel<Kind>*>(kernel);
            return status_of(its->api(), [&] { its->run(context); });
        };
        if constexpr (Kind::IN_PLACE) {
            op.GetMayInplace = [](int** inputs, int** outputs) {
                static int first = 0;
                *inputs = *outputs = &first;
                return size_t(1);
            };
            op.ReleaseMayInplace = [](int*, int*) {};
        }
        op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel<Kind>*>(kernel); };
        return op;
    }();
    return &its;
}

}  // namespace lc2fer

extern "C" __attribute__((visibility("default"))) void* RegisterCustomOps(void* options, const lc2fer::ApiBase* base) {
    const lc2fer::Api* api = base->GetApi(lc2fer::API_VERSION);
    return lc2fer::status_of(api, [&] {
        void* domain = nullptr;
        lc2fer::check(api->CreateCustomOpDomain("lc2fer", &domain));
        for (const auto* its : {lc2fer::operation<lc2fer::Stem>(), lc2fer::operation<lc2fer::Block>(),
                                lc2fer::operation<lc2fer::Downsample>()})
            lc2fer::check(api->CustomOpDomain_Add(domain, its));
        lc2fer::check(api->AddCustomOpDomain(options, domain));
    });
}
