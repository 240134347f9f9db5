# cmake -DNM=... -DISA=avx2 -DOBJECTS=a.o;b.o -P CheckIsaSymbols.cmake
#
# Fails if an object file of an instruction set defines a symbol that other files could pick up in place of their own:
# weak ones (inline functions and templates outside unnamed namespaces), or strong ones outside evsam::<isa>.
if(NOT OBJECTS)
  message(FATAL_ERROR "OBJECTS: expected object files, got none")
endif()
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND "${NM}" --defined-only --extern-only --demangle "${object}"
    OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${NM} failed on ${object}")
  endif()
  string(REPLACE ";" "," symbols "${symbols}")
  string(REPLACE "\n" ";" symbols "${symbols}")
  foreach(symbol IN LISTS symbols)
    if(symbol AND NOT symbol MATCHES " [A-TX-Z] evsam::${ISA}::" AND NOT symbol MATCHES "__odr_asan")
      message(SEND_ERROR "${object}: symbol not private to evsam::${ISA}: ${symbol}")
    endif()
  endforeach()
endforeach()
