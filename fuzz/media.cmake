foreach(parser image audio video)
  lapidary_fuzz(fuzz_${parser} SOURCE ${parser}.cpp USES media CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${parser})
endforeach()
