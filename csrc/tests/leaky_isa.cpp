// Deliberately wrong: an ISA file with an inline function of the common namespace. CheckIsaSymbols.cmake must reject
// it.
namespace evsam {

inline int leaky_helper(int x) { return x + 1; }

int (*leaky_pointer)(int) = &leaky_helper;

}  // namespace evsam
