// Probabilities of dlib's age predictor and gender classifier; see make_dlib_ages.py.
// dlib_ages age|gender NETWORK COUNT < pixels: prints a line per image.

#include <dlib/dnn.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

using namespace dlib;

template <int N, int S, typename SUB>
using block = affine<con<N, 3, 3, 1, 1, relu<affine<con<N, 3, 3, S, S, SUB>>>>>;
template <int N, typename SUB>
using same = relu<add_prev1<block<N, 1, tag1<SUB>>>>;
template <int N, typename SUB>
using down = relu<add_prev2<avg_pool<2, 2, 2, 2, skip1<tag2<block<N, 2, tag1<SUB>>>>>>>;
using stem = max_pool<3, 3, 2, 2, relu<affine<con<64, 7, 7, 2, 2, input_rgb_image>>>>;
using age = loss_multiclass_log<fc<81, avg_pool_everything<
    same<256, down<256, same<128, down<128, same<64, stem>>>>>>>>;

template <int N, typename SUB>
using stage = avg_pool<2, 2, 2, 2, relu<block<N, 1, SUB>>>;
using gender = loss_multiclass_log<fc<2, multiply<relu<fc<16, multiply<
    stage<64, stage<32, input_rgb_image_sized<32>>>>>>>>>;

template <typename NET>
void answer(const std::string& file, const long side, const long count) {
    NET net;
    deserialize(file) >> net;
    softmax<typename NET::subnet_type> probabilities;
    probabilities.subnet() = net.subnet();
    std::vector<unsigned char> pixels(side * side * 3);
    std::cout.precision(9);
    for (long n = 0; n < count; ++n) {
        std::cin.read(reinterpret_cast<char*>(pixels.data()), pixels.size());
        matrix<rgb_pixel> image(side, side);
        for (long i = 0; i < side * side; ++i)
            image(i / side, i % side) = rgb_pixel(pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]);
        for (const float p : probabilities(image)) std::cout << p << ' ';
        std::cout << '\n';
    }
}

int main(int, char** given) {
    if (std::string(given[1]) == "age")
        answer<age>(given[2], 64, std::atol(given[3]));
    else
        answer<gender>(given[2], 32, std::atol(given[3]));
}
