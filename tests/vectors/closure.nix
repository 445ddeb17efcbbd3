# A tiny closure with every kind of narinfo: empty references, references, a self reference, a text
# file, executables. Built with the shell of the machine: the contents need not be reproducible.
let
  sh = script: name: env: derivation ({
    inherit name; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" script ];
    PATH = "/usr/bin:/bin";
  } // env);
  text = builtins.toFile "greeting.txt" "hello\n";
  leaf = sh "echo leaf > $out" "leaf-1.0" { };
  self = sh "mkdir -p $out/bin; echo \"#!/bin/sh\n# $out\" > $out/bin/x; chmod +x $out/bin/x" "self+x_?=1.0" { };
in sh "mkdir $out; echo $leaf $self $text $out > $out/all; ln -s $leaf $out/link" "top-1.0" { inherit leaf self text; }
