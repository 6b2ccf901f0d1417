foreach(parser image audio video)
  lapidary_fuzz(fuzz_${parser} SOURCE ${parser}.cpp USES media CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${parser})
endforeach()
lapidary_fuzz(fuzz_processor_options SOURCE processor_options.cpp USES media CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/processor_options)
